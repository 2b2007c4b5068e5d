"""The PROXY protocol, version 2, server's side: which client a proxy speaks for. Only ProxyConnection is not pure.

Source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, section 2.2. Only what a TCP proxy sends is taken:
TCP over IPv4 or IPv6, and LOCAL, with which a proxy speaks for itself. Its additions (TLV) are passed over. It is read
only from peers that the operator has listed: with it a peer can claim any address.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass
from typing import Protocol

from tlsrt.channels.tls.epoll_transport import EpollTransport
from tlsrt.errors import PeerError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LENGTH_MAX = 536  # of what follows the first 16 bytes; a sender may add a few hundred bytes of TLV
READ_BYTES = 2048  # a header, and perhaps the ClientHello
_HEAD = 16
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6: bytes of an address


@dataclass(frozen=True, slots=True)
class Proxied:
    """A header, and what came after it. `address` is empty for LOCAL: the proxy itself."""

    address: str
    rest: bytes


class ProxyReader:
    """Collects one header, however it is cut."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed_untrusted(self, data: bytes | memoryview) -> Proxied | None:
        """Take more bytes; return the header once it is whole. Raises PeerError for anything else."""
        held = self._held
        held += data
        if not SIGNATURE.startswith(held[: len(SIGNATURE)]):
            raise PeerError("proxy_signature")
        if len(held) < _HEAD:
            return None
        command, family = held[12], held[13]
        length = int.from_bytes(held[14:16], "big")
        if command not in (_LOCAL, _PROXY):
            raise PeerError("proxy_command")
        if length > LENGTH_MAX:
            raise PeerError("proxy_length")
        if command == _PROXY and (family not in _FAMILIES or length < 2 * _FAMILIES[family] + 4):
            raise PeerError("proxy_family")
        if len(held) < _HEAD + length:
            return None
        rest = bytes(held[_HEAD + length :])
        if command == _LOCAL:
            return Proxied("", rest)
        size = _FAMILIES[family]
        return Proxied(str(ipaddress.ip_address(bytes(held[_HEAD : _HEAD + size]))), rest)


class ProxyOwner(Protocol):
    """Who reads PROXY headers; `proxy` is the address of a proxy itself."""

    def admit_proxied(self, proxy: str, address: str) -> asyncio.BufferedProtocol | None:
        """Return the protocol of a client ("" for the proxy itself), or None to refuse it."""

    def on_proxy_failed(self, proxy: str, reason: str) -> None:
        """There was no header in time, or none at all."""

    def on_proxy_done(self, connection: ProxyConnection) -> None:
        """The header was read, or the connection is closed; comes once."""


class ProxyConnection(asyncio.BufferedProtocol):
    """A proxy's connection before TLS. A header is read in `timeout_s`, then the client's protocol takes over."""

    def __init__(self, owner: ProxyOwner, proxy: str, timeout_s: float) -> None:
        self._owner = owner
        self._proxy = proxy
        self._is_done = False
        self._reader = ProxyReader()
        self._buffer = bytearray(READ_BYTES)
        self._socket: EpollTransport | None = None
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self.end, "proxy_timeout")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, EpollTransport)
        self._socket = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            proxied = self._reader.feed_untrusted(memoryview(self._buffer)[:nbytes])
        except PeerError as error:
            self.end(error.reason)
            return
        transport = self._socket
        if proxied is None or transport is None:
            return
        protocol = self._owner.admit_proxied(self._proxy, proxied.address)
        if protocol is None:
            transport.abort()
            return
        self._done()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if proxied.rest:
            protocol.get_buffer(-1)[: len(proxied.rest)] = proxied.rest  # type: ignore[index]  # it is a memoryview
            protocol.buffer_updated(len(proxied.rest))

    def eof_received(self) -> bool:
        self.end("proxy_cut")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()

    def end(self, reason: str) -> None:
        """End the connection."""
        if self._socket is not None:
            self._owner.on_proxy_failed(self._proxy, reason)
            self._socket.abort()
            self._socket = None

    def _done(self) -> None:
        self._timer.cancel()
        self._socket = None
        if not self._is_done:
            self._is_done = True
            self._owner.on_proxy_done(self)
