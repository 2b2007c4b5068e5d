"""What leads back from a change of interfaces, as requests of rtnetlink(7), for who can do no more than send. Pure.

It may be sent after a part of the change, after all of it, or twice. So it says the whole state before: what is so
already the kernel refuses as such, which is no error.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from tlsrt.loops.external.interface_state import InterfaceState, Route, State, in_order

_HEADER, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_LINK, _ADDRESS, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=4BI"), struct.Struct("=8BI")
_SET_LINK, _NEW_ADDRESS, _REMOVE_ADDRESS, _NEW_ROUTE, _REMOVE_ROUTE = 19, 20, 21, 24, 25  # RTM_*
_MAKE = 0x600  # NLM_F_CREATE | NLM_F_EXCL: what is there stays as it is
_UP = 1  # IFF_UP
_MTU = 4  # IFLA_MTU
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHE = 1, 2, 6
_RTA_TO, _RTA_OUT, _RTA_VIA, _RTA_METRIC = 1, 4, 5, 6
_MAIN, _UNIVERSE, _ON_LINK, _ANY, _UNICAST = 254, 0, 253, 255, 1
_PROTOCOLS = {  # rt_protos of iproute2, as ip says them
    "boot": 3, "static": 4, "gated": 8, "mrt": 10, "zebra": 11, "bird": 12, "xorp": 14, "dhcp": 16, "keepalived": 18,
    "babel": 42, "openr": 99, "bgp": 186, "isis": 187, "ospf": 188, "rip": 189, "eigrp": 192,
}  # fmt: skip


def undo_requests(before: State, changed: State, indices: Mapping[str, int]) -> bytes:
    """Return the requests that lead from `changed`, or from a part of the way to it, to the state before."""
    return b"".join(_of_one(before[name], changed[name], indices[name]) for name in changed if name in indices)


def _of_one(before: InterfaceState, changed: InterfaceState, index: int) -> bytes:
    parts: list[bytes] = []
    if before["mtu"] != changed["mtu"]:
        parts.append(_request(_SET_LINK, 0, _LINK.pack(0, 0, index, 0, 0), (_MTU, struct.pack("=I", before["mtu"]))))
    if before["up"]:
        parts.append(_set_up(index, is_up=True))
    parts += [
        _address(_NEW_ADDRESS, _MAKE, text, index, left)
        for text, left in before["addresses"].items()
        if before["up"] or ":" not in text  # a link that is down has no IPv6
    ]
    if before["up"]:
        parts += [_route(_NEW_ROUTE, _MAKE, one, index) for one in in_order(before["routes"])]
    kept = set(map(tuple, before["routes"]))
    parts += [_route(_REMOVE_ROUTE, 0, one, index) for one in changed["routes"] if tuple(one) not in kept]
    gone = [text for text in changed["addresses"] if text not in before["addresses"]]
    parts += [_address(_REMOVE_ADDRESS, 0, text, index, None) for text in gone]
    if not before["up"]:
        parts.append(_set_up(index, is_up=False))
    return b"".join(parts)


def _set_up(index: int, *, is_up: bool) -> bytes:
    return _request(_SET_LINK, 0, _LINK.pack(0, 0, index, _UP if is_up else 0, _UP))


def _address(kind: int, flags: int, text: str, index: int, left_s: int | None) -> bytes:
    one = ipaddress.ip_interface(text)
    family = int(socket.AF_INET if one.version == 4 else socket.AF_INET6)
    found = [(_IFA_LOCAL, one.ip.packed), (_IFA_ADDRESS, one.ip.packed)]
    if kind == _NEW_ADDRESS and left_s is not None:
        found.append((_IFA_CACHE, struct.pack("=4I", left_s, left_s, 0, 0)))  # preferred, valid
    return _request(kind, flags, _ADDRESS.pack(family, one.network.prefixlen, 0, 0, index), *found)


def _route(kind: int, flags: int, route: Route | Sequence[Any], index: int) -> bytes:
    to, via, metric, protocol = route
    network = ipaddress.ip_network(to)
    is_four = network.version == 4
    family = int(socket.AF_INET if is_four else socket.AF_INET6)
    scope = _ON_LINK if is_four and not via else _UNIVERSE
    if kind == _REMOVE_ROUTE:
        scope = _ANY if is_four else _UNIVERSE  # RT_SCOPE_NOWHERE: whatever it has
    number = int(protocol) if protocol.isdigit() else _PROTOCOLS.get(protocol, _PROTOCOLS["boot"])
    body = _ROUTE.pack(family, network.prefixlen, 0, 0, _MAIN, number, scope, _UNICAST, 0)
    found = [(_RTA_TO, network.network_address.packed)] if network.prefixlen else []
    found.append((_RTA_OUT, struct.pack("=I", index)))
    if via:
        found.append((_RTA_VIA, ipaddress.ip_address(via).packed))
    if metric:
        found.append((_RTA_METRIC, struct.pack("=I", metric)))
    return _request(kind, flags, body, *found)


def _request(kind: int, flags: int, body: bytes, *attributes: tuple[int, bytes]) -> bytes:
    for number, value in attributes:
        body += _padded(_ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number) + value)
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def _padded(data: bytes) -> bytes:
    return data.ljust((len(data) + 3) & ~3, b"\0")
