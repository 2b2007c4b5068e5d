"""A TLS connection on asyncio: moves bytes between a socket and a `TlsEngine`. Both sides use it.

Life: handshake -> open -> ending -> closed. Whatever ends it, the alert or close_notify is written first, then our side
is shut (shutdown(2), SHUT_WR) and the rest of the peer's bytes is read and dropped for a moment: a close with unread
bytes would make the kernel send a reset, and the peer would never see why. A peer that does not read is cut off when
more than `waiting_max` bytes wait for it.

Its owner chooses who handles the plaintext when the handshake ends; so any protocol can sit on this.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tlsrt.channels.tls.engine import State, TlsEngine
from tlsrt.errors import PeerError

_OPEN, _HANDSHAKE = State.OPEN, State.HANDSHAKE
READ_BYTES = 64 * 1024
LINGER_S = 1.0
LOOK_AGAIN_S = 0.1  # after which what has come in time is looked for again
LINGER_BYTES = 256 * 1024


class Handler(Protocol):
    """What sits on a connection. `received_untrusted` may raise PeerError, which ends the connection."""

    def received_untrusted(self, data: bytes) -> None: ...
    def lost(self, reason: str) -> None: ...


class ConnectionOwner(Protocol):
    """Who made a connection."""

    def choose_handler(self) -> Handler:
        """The handshake has succeeded: return what takes the plaintext. May raise PeerError, which ends it."""

    def on_handshake_bytes(self, *, has_hello: bool) -> None:
        """Bytes of a handshake have come that did not end it; `has_hello` once the peer's first flight is whole."""

    def on_end(self, reason: str) -> None:
        """The connection is over; comes once."""

    def on_socket_closed(self) -> None:
        """Its socket is closed too; comes once, if it ever had one."""


@runtime_checkable
class UnreadTransport(Protocol):
    """A transport that can tell whether its socket holds what was not read yet."""

    def has_unread(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The time of a handshake and of its first flight, and the bytes that may wait for a peer that does not read."""

    handshake_s: float = 5.0
    hello_s: float = 1.0
    waiting_max: int = 16 * 1024 * 1024


class TlsConnection(asyncio.BufferedProtocol):
    """One connection. `buffer` is shared by all connections of one event loop: it is empty between two calls.

    The peer must have shown a certificate, whatever OpenSSL was told to ask for; unless it may be `anonymous`, or the
    engine took it as a stranger, who can speak one protocol only.
    """

    def __init__(
        self, engine: TlsEngine, owner: ConnectionOwner, limits: ConnectionLimits, buffer: bytearray | None = None, *,
        anonymous: bool = False,
    ) -> None:  # fmt: skip
        self.engine = engine
        self.heard = 0.0  # the loop's time of the last bytes
        self.ended = ""  # the reason, once it ends
        self._owner = owner
        self._limits = limits
        self._anonymous = anonymous
        self._view = memoryview(buffer if buffer is not None else bytearray(READ_BYTES))
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._handler: Handler | None = None
        self._dropped = 0

    # -- what the owner does -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send plaintext now; without effect once the connection has ended."""
        if not self.ended:
            self.engine.write(data)
            self._push()

    def close(self, reason: str = "closed") -> None:
        """End in good order: what was written arrives, then close_notify."""
        if not self.ended:
            self.engine.close()
            self._end(reason)

    def fail(self, reason: str) -> None:
        """End because the peer broke the rules or ran out of time."""
        if not self.ended:
            self.engine.fail(reason)
            self._end(reason)

    def abort(self, reason: str) -> None:
        """Cut at once, without an alert."""
        self._note_end(reason)
        if self._transport is not None:
            self._transport.abort()

    @property
    def has_socket(self) -> bool:
        """Whether a socket is open for it."""
        return self._transport is not None

    @property
    def transport(self) -> asyncio.Transport | None:
        """What carries it, while a socket is open for it."""
        return self._transport

    @property
    def waiting(self) -> int:
        """How many bytes wait for the peer to read."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    # -- what asyncio calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.heard = self._loop.time()
        if self.ended:
            transport.abort()
            return
        if self.engine.awaits_hello and self._limits.hello_s < self._limits.handshake_s:
            self._timer = self._loop.call_later(self._limits.hello_s, self._check_hello, self._limits.hello_s)
        else:
            self._timer = self._loop.call_later(self._limits.handshake_s, self.fail, "handshake_timeout")
        self._push()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self.ended:
            self._dropped += nbytes
            if self._dropped > LINGER_BYTES and self._transport is not None:
                self._transport.abort()
            return
        self.heard = self._loop.time()
        engine = self.engine
        before = engine.state
        plaintext = engine.receive_untrusted(self._view[:nbytes])
        try:
            if before is _HANDSHAKE:
                if engine.state is not _HANDSHAKE:
                    self._shaken()
                else:
                    self._owner.on_handshake_bytes(has_hello=not engine.awaits_hello)
            if plaintext and self._handler is not None:
                self._handler.received_untrusted(plaintext)
        except PeerError as error:
            self.fail(error.reason)
        if engine.state is not _OPEN or engine.has_outgoing:
            self._settle()

    def eof_received(self) -> bool:
        self.engine.receive_eof()
        self._settle()
        return False  # the transport writes what is left, then closes

    def connection_lost(self, exc: Exception | None) -> None:
        self._note_end("reset" if exc is not None else "cut")
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._owner.on_socket_closed()

    # -- inside ------------------------------------------------------------------------------------------------

    def _check_hello(self, waited_s: float) -> None:
        """End a peer whose first flight is late; what has come and was not read yet counts as in time."""
        left_s = self._limits.handshake_s - waited_s
        if not self.engine.awaits_hello or left_s <= 0:
            self._timer = self._loop.call_later(max(0.0, left_s), self.fail, "handshake_timeout")
        elif isinstance(self._transport, UnreadTransport) and self._transport.has_unread():
            step = min(LOOK_AGAIN_S, left_s)
            self._timer = self._loop.call_later(step, self._check_hello, waited_s + step)
        else:
            self.fail("hello_timeout")

    def _shaken(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        engine = self.engine
        if (self._anonymous or engine.certificate or engine.stranger) and self.engine.state is not State.FAILED:
            self._push()
            handler = self._handler = self._owner.choose_handler()
            if self.ended:  # while it was chosen
                handler.lost(self.ended)
        elif self.engine.state is not State.FAILED:
            self.engine.fail("no_certificate")

    def _settle(self) -> None:
        """Send what the engine has to say, and end if it has."""
        if self.ended:
            return
        state = self.engine.state
        if state in (State.CLOSED, State.FAILED):
            self._end(self.engine.failure or "closed_by_peer")
        else:
            self._push()

    def _push(self) -> None:
        data = self.engine.take_outgoing()
        if not data:
            return
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self._limits.waiting_max:
            self.abort("slow_reader")

    def _end(self, reason: str) -> None:
        transport = self._transport
        self._push()
        self._note_end(reason)
        if transport is None or transport.is_closing():
            return
        transport.write_eof()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_S, transport.abort)

    def _note_end(self, reason: str) -> None:
        if not self.ended:
            self.ended = reason
            if self._handler is not None:
                self._handler.lost(reason)
            self._owner.on_end(reason)
