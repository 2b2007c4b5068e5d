"""Message link: the part of `tlsrt/1` on a TLS connection that both sides share, whatever frames its payloads.

All messages of one turn of the event loop leave in one TLS write; nothing waits longer than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tlsrt.channels.tls.connection import TlsConnection
from tlsrt.channels.tls.message_stream import Framing, StreamReader, encode_control


class MessageLink:
    """One end. Children take payloads in `payload_untrusted` (PeerError ends the connection) and `lost`.

    `want` is told to flush at the end of this turn, if the owner has turns of its own. Without `framing` payloads
    travel as on a stream.
    """

    def __init__(
        self, connection: TlsConnection, cap: int, want: Callable[[Callable[[], None]], object] | None = None,
        framing: Framing | None = None,
    ) -> None:  # fmt: skip
        self.connection = connection
        self.reader: Framing = StreamReader(cap) if framing is None else framing
        self.reader.cap = cap
        self._loop = asyncio.get_running_loop()
        self._want = want or self._loop.call_soon
        self._waiting: list[bytes] = []

    def send(self, payload: bytes) -> None:
        """Send one payload at the end of this turn."""
        if not self._waiting:
            self._want(self.flush)
        self._waiting.append(payload)

    def say(self, name: str, *fields: object) -> None:
        """Send one control message."""
        self.send(encode_control(name, *fields))

    def flush(self) -> None:
        """Send what waits, now."""
        if self.connection.ended or not self._waiting:
            return
        data = self.reader.encode(self._waiting)
        self._waiting.clear()
        self.connection.write(data)

    def finish(self) -> None:
        """Send what waits, and the last word of the framing: the connection is ended next."""
        self.flush()
        if last := self.reader.end():
            self.connection.write(last)

    @property
    def unsent(self) -> list[bytes]:
        """What was never written."""
        return self._waiting

    def received_untrusted(self, data: bytes) -> None:
        for payload in self.reader.feed_untrusted(data):
            if self.connection.ended:
                return
            self.payload_untrusted(payload)

    def payload_untrusted(self, payload: bytes) -> None:
        """Take one payload of the peer; raise PeerError if it may not come now."""
        raise AssertionError("children say what a payload means")

    def lost(self, reason: str) -> None:
        """The connection has ended."""
