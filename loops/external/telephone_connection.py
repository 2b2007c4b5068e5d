"""A TLS connection of a telephone: bytes, bounds and times around a `Line`. asyncio."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from tlsrt.loops.external.telephone_tls import fingerprint_of
from tlsrt.loops.sip.call import Call
from tlsrt.loops.sip.digest import Authenticator
from tlsrt.loops.sip.line import Line

PROVE_S = 10.0  # until it is known who is there
MESSAGE_S = 10.0  # from the first byte of a message to its last one
TICK_S = 0.25
UNREAD = 1 << 18  # bytes that a peer has not taken
BYTES_PER_S, BURST = 256 << 10, 512 << 10  # what is read of one connection: 500 messages of 500 bytes each second


class Switchboard(Protocol):
    """Who has all connections."""

    def opened(self, connection: TelephoneConnection) -> None:
        """Hear that TLS is there."""

    def closed(self, connection: TelephoneConnection, why: str) -> None:
        """Hear of the end."""

    def by_certificate(self, fingerprint: str) -> str:
        """Return the telephone with a certificate, empty for none."""
        ...

    def proven(self, connection: TelephoneConnection, telephone: str) -> bool:
        """Hear who is there; return whether it may be."""
        ...

    def guessed(self, connection: TelephoneConnection, telephone: str) -> None:
        """Hear of a wrong password."""

    def registered(self, connection: TelephoneConnection, target: str, expires_s: int) -> None:
        """Hear of a registration."""

    def offered(self, connection: TelephoneConnection, call: Call) -> tuple[int, str]:
        """Hear of a call."""
        ...

    def rings(self, call: Call) -> None:
        """Hear that a telephone rings."""

    def talks(self, call: Call) -> None:
        """Hear that a call is answered."""

    def changed(self, call: Call) -> None:
        """Hear that the media of a call changed."""

    def ended(self, call: Call) -> None:
        """Hear that a call is over."""


class TelephoneConnection(asyncio.Protocol):
    """One connection. `telephone` is given where we have connected to it ourselves, and verified its certificate."""

    def __init__(
        self, board: Switchboard, make_authenticator: Callable[[], Authenticator], rtp_port: int, telephone: str = ""
    ) -> None:
        self.peer = ""
        self.is_outgoing = bool(telephone)
        self.target = ""  # the URI at which it wants to be rung
        self.registered_until_s = 0.0
        self.line: Line | None = None
        self._board = board
        self._make_authenticator = make_authenticator
        self._rtp_port = rtp_port
        self._telephone = telephone
        self._transport: asyncio.Transport | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._why = "the telephone closed the connection"
        self._allowance = float(BURST)
        self._read_s = 0.0

    @property
    def telephone(self) -> str:
        """Who is there, empty until it is proven."""
        return self.line.telephone if self.line is not None else ""

    def connection_made(self, transport: Any) -> None:
        """Begin: TLS is there."""
        self._transport = transport
        loop = asyncio.get_running_loop()
        place = transport.get_extra_info("sockname")
        self.peer = str(transport.get_extra_info("peername")[0])
        transport.set_write_buffer_limits(high=UNREAD)
        host = f"[{place[0]}]" if ":" in place[0] else place[0]
        self.line = Line(self, self._make_authenticator(), "", f"{host}:{place[1]}", self._rtp_port, loop.time())
        self._read_s = loop.time()
        telephone = self._telephone
        connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if not telephone and (fingerprint := fingerprint_of(connection)):
            telephone = self._board.by_certificate(fingerprint)
        self._board.opened(self)
        if telephone and (self.is_outgoing or self._board.proven(self, telephone)):
            self.line.telephone = telephone
        self._on_tick()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and read on later where too many came."""
        loop = asyncio.get_running_loop()
        if self.line is None or self._transport is None or self._transport.is_closing():
            return
        now_s = loop.time()
        self._allowance = min(BURST, self._allowance + BYTES_PER_S * (now_s - self._read_s)) - len(data)
        self._read_s = now_s
        self.line.feed_untrusted(data, now_s)
        if self._allowance < 0 and not self._transport.is_closing():
            self._transport.pause_reading()
            loop.call_later(-self._allowance / BYTES_PER_S, self._read_on)

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Hear of the end: so are all calls."""
        if self._tick is not None:
            self._tick.cancel()
        if self.line is not None:
            self.line.lost(self._why)
        self._board.closed(self, self._why)

    def _on_tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._tick = loop.call_later(TICK_S, self._on_tick)
        if self.line is not None:
            self.line.tick(loop.time(), PROVE_S, MESSAGE_S)

    # LineOwner

    def write(self, data: bytes) -> None:
        """Send bytes; who does not take them is left."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > UNREAD:
            self._why = "the telephone does not read"
            self._transport.abort()

    def end(self, why: str) -> None:
        """Close the connection."""
        if self._transport is not None and not self._transport.is_closing():
            self._why = why
            self._transport.close()
            asyncio.get_running_loop().call_later(1.0, self._transport.abort)

    def random(self, count: int) -> bytes:
        """Return random bytes."""
        return os.urandom(count)

    def proven(self, telephone: str) -> bool:
        """Pass on who is there."""
        return self._board.proven(self, telephone)

    def guessed(self, telephone: str) -> None:
        """Pass on a wrong password."""
        self._board.guessed(self, telephone)

    def registered(self, target: str, expires_s: int) -> None:
        """Pass on a registration."""
        self._board.registered(self, target, expires_s)

    def offered(self, call: Call) -> tuple[int, str]:
        """Pass on a call."""
        return self._board.offered(self, call)

    def rings(self, call: Call) -> None:
        """Pass on that it rings."""
        self._board.rings(call)

    def talks(self, call: Call) -> None:
        """Pass on that it is answered."""
        self._board.talks(call)

    def changed(self, call: Call) -> None:
        """Pass on other terms."""
        self._board.changed(call)

    def ended(self, call: Call) -> None:
        """Pass on the end of a call."""
        self._board.ended(call)
