"""Links and addresses of the host, as the kernel lists them over rtnetlink(7): asked without waiting for anyone.

libc's getifaddrs and psutil do as much with dozens of calls, some of which the supervisor makes for the process.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

_ROUTE = 0  # NETLINK_ROUTE
_GET_LINK, _GET_ADDRESS, _NEW_LINK, _NEW_ADDRESS, _ERROR, _DONE = 18, 22, 16, 20, 2, 3
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_HEADER, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_LINK, _ADDRESS = struct.Struct("=BxHiII"), struct.Struct("=4BI")  # struct ifinfomsg, ifaddrmsg
_FAMILIES = {int(socket.AF_INET): "ipv4", int(socket.AF_INET6): "ipv6"}
_STATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")  # RFC 2863, IF_OPER_*
_UP, _LOWER_UP = 0x1, 0x10000  # IFF_*
_DATAGRAM_MAX, _DATAGRAMS_MAX = 1 << 16, 4096


def read_tables() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return links and addresses. Raises OSError if the kernel does not tell them."""
    with _asked() as kernel:
        links = _links(kernel)
        listed = _listed(kernel, _GET_ADDRESS, _NEW_ADDRESS, _ADDRESS.pack(0, 0, 0, 0, 0))
        addresses = [found for body in listed if (found := address_of(body, links)) is not None]
    return list(links.values()), addresses


def read_names() -> dict[int, str]:
    """Return the names of links by their numbers. Raises OSError if the kernel does not tell them."""
    with _asked() as kernel:
        return {index: str(link["name"]) for index, link in _links(kernel).items()}


def _asked() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE)
    kernel.settimeout(1)  # the kernel has answered when it is asked: this is for a kernel that does not
    return kernel


def _links(kernel: socket.socket) -> dict[int, dict[str, Any]]:
    return dict(link_of(body) for body in _listed(kernel, _GET_LINK, _NEW_LINK, _LINK.pack(0, 0, 0, 0, 0)))


def _listed(kernel: socket.socket, ask: int, answer: int, body: bytes) -> Iterator[bytes]:
    kernel.send(_HEADER.pack(_HEADER.size + len(body), ask, _DUMP, ask, 0) + body)
    for _ in range(_DATAGRAMS_MAX):
        for kind, one in messages(kernel.recv(_DATAGRAM_MAX)):
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError(-struct.unpack_from("=i", one)[0], "the kernel lists no links")
            if kind == answer:
                yield one


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the messages of a datagram, as type and body; what cannot be one ends it."""
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            break
        found[kind & 0x3FFF] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found


def link_of(body: bytes) -> tuple[int, dict[str, Any]]:
    """Return a link by its number."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = _attributes(body[_LINK.size :])
    state = found.get(16, b"\0")[0]
    return index, {
        "name": printable(found.get(3, b"").partition(b"\0")[0]),
        "up": bool(flags & _UP),
        "carrier": bool(flags & _LOWER_UP),
        "state": _STATES[state] if state < len(_STATES) else "unknown",
        "mtu_bytes": int.from_bytes(found[4], sys.byteorder) if 4 in found else None,
        "address": found[1].hex(":") if found.get(1) else None,
    }  # fmt: skip


def address_of(body: bytes, links: dict[int, dict[str, Any]]) -> dict[str, Any] | None:
    """Return an address of a link; None for one of another family."""
    family, prefix, _, _, index = _ADDRESS.unpack_from(body)
    found = _attributes(body[_ADDRESS.size :])
    own = found.get(2, found.get(1))  # IFA_LOCAL; IPv6 has its own as IFA_ADDRESS
    if family not in _FAMILIES or own is None or index not in links:
        return None
    address = ipaddress.ip_address(own)
    scope = "host" if address.is_loopback else "link" if address.is_link_local else "global"
    return {
        "interface": links[index]["name"],
        "family": _FAMILIES[family],
        "address": f"{address}/{prefix}",
        "scope": scope,
    }


def printable(name: bytes | str) -> str:
    """Return the name of an interface without what a terminal would obey: who makes one may choose nearly any bytes."""
    data = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 0x20 < byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in data)
