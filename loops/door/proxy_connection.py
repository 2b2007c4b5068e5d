"""A connection from a proxy, before TLS: its PROXY header is read, then the real protocol takes over. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tlsrt.channels.tls.epoll_transport import EpollTransport
from tlsrt.errors import PeerError
from tlsrt.loops.door.proxy_protocol import ProxyReader

READ_BYTES = 2048  # a header, and perhaps the ClientHello

# Makes the protocol of an address ("" for the proxy itself), or says no and closes nothing.
Admit = Callable[[str], asyncio.BufferedProtocol | None]


class ProxyConnection(asyncio.BufferedProtocol):
    """Reads one header in `timeout_s`; `note` hears why there was none, `gone` that this stage is over."""

    def __init__(
        self, admit: Admit, note: Callable[[str], None], gone: Callable[[], None], timeout_s: float
    ) -> None:  # fmt: skip
        self._admit = admit
        self._note = note
        self._gone = gone
        self._reader = ProxyReader()
        self._buffer = bytearray(READ_BYTES)
        self._wire: EpollTransport | None = None
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self.end, "proxy_timeout")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, EpollTransport)
        self._wire = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            proxied = self._reader.feed_untrusted(memoryview(self._buffer)[:nbytes])
        except PeerError as error:
            self.end(error.reason)
            return
        wire = self._wire
        if proxied is None or wire is None:
            return
        protocol = self._admit(proxied.address)
        if protocol is None:
            wire.abort()
            return
        self._over()
        wire.set_protocol(protocol)
        protocol.connection_made(wire)
        if proxied.rest:
            protocol.get_buffer(-1)[: len(proxied.rest)] = proxied.rest  # type: ignore[index]  # it is a memoryview
            protocol.buffer_updated(len(proxied.rest))

    def eof_received(self) -> bool:
        self.end("proxy_cut")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()

    def end(self, reason: str) -> None:
        """End the connection."""
        if self._wire is not None:
            self._note(reason)
            self._wire.abort()
            self._wire = None

    def _over(self) -> None:
        self._timer.cancel()
        self._wire = None
        gone, self._gone = self._gone, lambda: None
        gone()
