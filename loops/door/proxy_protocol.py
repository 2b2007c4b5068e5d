"""The PROXY protocol, version 2, server's side: who is behind a proxy. Pure.

Source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, section 2.2. Only what a TCP proxy sends is taken:
TCP over IPv4 or IPv6, and LOCAL, with which a proxy speaks for itself. Its additions (TLV) are passed over. It is read
only from peers that the operator has listed: anybody could claim anything with it.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from tlsrt.errors import PeerError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LENGTH_MAX = 536  # of what follows the first 16 bytes; a sender may add a few hundred bytes of TLV
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
