"""Changes of the network out of messages of rtnetlink(7). Pure.

The kernel's words are read as untrusted all the same: whatever bytes come, they are changes or the one error.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

from tlsrt.channels.control.network_change import STATES, NetworkChange
from tlsrt.errors import PeerError
from tlsrt.supervisor.helper.netlink import (
    DUMP,
    MULTI,
    REQUEST,
    NetlinkMessage,
    attributes_untrusted,
    message,
    messages_untrusted,
)

NAMES_MAX = 4096  # interfaces whose names are kept: the oldest go
_NEW_LINK, _REMOVED_LINK, _GET_LINK = 16, 17, 18  # RTM_*
_NEW_ADDRESS, _REMOVED_ADDRESS = 20, 21
_NEW_ROUTE, _REMOVED_ROUTE = 24, 25
_FAMILIES = {2: 4, 10: 16}  # AF_INET and AF_INET6 -> bytes of an address
_UP, _LOWER_UP = 0x1, 0x10000  # IFF_*
_HARDWARE, _NAME, _MTU, _STATE = 1, 3, 4, 16  # IFLA_*
_PEER, _LOCAL = 1, 2  # IFA_*: of IPv6 the first is its own
_TO, _DEVICE, _GATEWAY, _METRIC, _TABLE = 1, 4, 5, 6, 15  # RTA_*
_MAIN, _UNICAST, _CLONED = 254, 1, 0x200  # RT_TABLE_MAIN, RTN_UNICAST, RTM_F_CLONED
_LINK_HEAD = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS_HEAD = struct.Struct("=4BI")  # struct ifaddrmsg
_ROUTE_HEAD = struct.Struct("=8BI")  # struct rtmsg
_HARDWARE_MAX = 32  # MAX_ADDR_LEN


def ask_for_links(sequence: int) -> bytes:
    """Return the message that asks for all links: they come with the flag of a dump, before `DONE`."""
    return message(_GET_LINK, REQUEST | DUMP, sequence, _LINK_HEAD.pack(0, 0, 0, 0, 0))


class NetworkReader:
    """Reads datagrams of one socket; keeps the names of interfaces by their numbers, as addresses have only these."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def read_untrusted(self, data: bytes) -> Iterator[NetworkChange]:
        """Give the changes of a datagram; what is answered to `ask_for_links` is only learned. Raises PeerError."""
        for one in messages_untrusted(data):
            change = self._change(one)
            if change is not None and not one.flags & MULTI:
                yield change

    def _change(self, one: NetlinkMessage) -> NetworkChange | None:
        if one.type in (_NEW_LINK, _REMOVED_LINK):
            return self._link(one)
        if one.type in (_NEW_ADDRESS, _REMOVED_ADDRESS):
            return self._address(one)
        return self._route(one) if one.type in (_NEW_ROUTE, _REMOVED_ROUTE) else None

    def _link(self, one: NetlinkMessage) -> NetworkChange | None:
        (family, _, index, flags, _), found = _taken_apart(_LINK_HEAD, one.body)
        if family != 0:
            return None  # a port of a bridge (AF_BRIDGE), told once more
        name = _name(found.get(_NAME, b""))
        if index <= 0 or not name:
            raise PeerError("bad_netlink")
        removed = one.type == _REMOVED_LINK
        self._names.pop(index, None)
        if not removed:
            self._names[index] = name
            if len(self._names) > NAMES_MAX:
                del self._names[next(iter(self._names))]
        state = found.get(_STATE, b"\0")
        hardware = found.get(_HARDWARE, b"")
        if len(state) != 1 or state[0] >= len(STATES) or len(hardware) > _HARDWARE_MAX:
            raise PeerError("bad_netlink")
        return NetworkChange(
            "link", removed, name, index, hardware.hex(":"), up=bool(flags & _UP), carrier=bool(flags & _LOWER_UP),
            mtu_bytes=_number(found.get(_MTU, bytes(4))), state=STATES[state[0]],
        )  # fmt: skip

    def _address(self, one: NetlinkMessage) -> NetworkChange | None:
        (family, prefix, _, _, index), found = _taken_apart(_ADDRESS_HEAD, one.body)
        if family not in _FAMILIES:
            return None
        own = found.get(_LOCAL, found.get(_PEER, b""))
        removed = one.type == _REMOVED_ADDRESS
        return NetworkChange("address", removed, self._names.get(index, ""), index, _network(family, own, prefix))

    def _route(self, one: NetlinkMessage) -> NetworkChange | None:
        head, found = _taken_apart(_ROUTE_HEAD, one.body)
        family, prefix, _, _, table, _, _, kind, flags = head
        table = _number(found[_TABLE]) if _TABLE in found else table
        if family not in _FAMILIES or table != _MAIN or kind != _UNICAST or flags & _CLONED:
            return None
        to = found.get(_TO, bytes(_FAMILIES[family]))
        gateway = str(_ip(family, found[_GATEWAY])) if _GATEWAY in found else ""
        index, metric = (_number(found.get(key, bytes(4))) for key in (_DEVICE, _METRIC))
        removed, name = one.type == _REMOVED_ROUTE, self._names.get(index, "")
        return NetworkChange("route", removed, name, index, _network(family, to, prefix), gateway, metric)


def _taken_apart(head: struct.Struct, body: bytes) -> tuple[tuple[int, ...], dict[int, bytes]]:
    if len(body) < head.size:
        raise PeerError("bad_netlink")
    return head.unpack_from(body), attributes_untrusted(body[head.size :])


def _name(data: bytes) -> str:
    """Return a name as printable ASCII: an interface may have any byte but `/`, `:` and white space in it."""
    name = data.partition(b"\0")[0]
    if len(name) > 15:
        raise PeerError("bad_netlink")
    return "".join(chr(byte) if 0x20 < byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in name)


def _ip(family: int, data: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if len(data) != _FAMILIES[family]:
        raise PeerError("bad_netlink")
    return ipaddress.ip_address(data)


def _network(family: int, data: bytes, prefix: int) -> str:
    if prefix > 8 * _FAMILIES[family]:
        raise PeerError("bad_netlink")
    return f"{_ip(family, data)}/{prefix}"


def _number(data: bytes) -> int:
    if len(data) != 4:
        raise PeerError("bad_netlink")
    (number,) = struct.unpack("=I", data)
    return int(number)
