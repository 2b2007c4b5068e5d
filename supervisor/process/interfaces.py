"""Interfaces of the listeners that have joined a group: their index and addresses, for a process that sees none.

Read as the process starts, in the network namespace of the host, before it leaves that for an empty one. ioctl(2) tells
the first address of IPv4, netdevice(7); those of IPv6 stand in /proc/net/if_inet6.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tlsrt.config.listeners import Interface, ListenConfig, Listener

_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
_REQUEST = struct.Struct("=16s24x")  # struct ifreq
_ADDRESS = slice(20, 24)  # of a struct sockaddr_in in it


def interfaces_of(listeners: Iterable[Listener], process: str) -> dict[str, Interface]:
    """Return key -> interface for those of a process. Raises nothing: one that is gone has no entry."""
    found: dict[str, Interface] = {}
    for one in listeners:
        if one.process == process and one.asked.group and one.is_inherited:
            with suppress(OSError):
                found[one.key] = _interface_of(one.asked)
    return found


def _interface_of(asked: ListenConfig) -> Interface:
    """Return the interface on which it joins its group. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        name = asked.interface or _default(asking, asked)
        six = Path("/proc/net/if_inet6")
        more = addresses_of(name, six.read_text()) if six.exists() else ()  # IPv6 can be off
        return Interface(name, socket.if_nametoindex(name), (*_first_address(asking, name), *more))


def addresses_of(name: str, table: str) -> tuple[str, ...]:
    """Return the addresses of IPv6 of an interface, from the text of /proc/net/if_inet6. Pure."""
    rows = [row.split() for row in table.splitlines()]
    mine = [(bytes.fromhex(row[0]), int(row[2], 16)) for row in rows if len(row) == 6 and row[5] == name]
    return tuple(f"{ipaddress.IPv6Address(address)}/{length}" for address, length in mine)


def _default(asking: socket.socket, asked: ListenConfig) -> str:
    """Return the interface of the route to a group. Raises OSError."""
    asking.connect((asked.group, asked.port))
    own = asking.getsockname()[0]
    for _, name in socket.if_nameindex():
        if any(one.partition("/")[0] == own for one in _first_address(asking, name)):
            return name
    raise OSError(f"no interface has {own}")


def _first_address(asking: socket.socket, name: str) -> tuple[str, ...]:
    try:
        address, mask = (
            fcntl.ioctl(asking, request, _REQUEST.pack(name.encode()))[_ADDRESS]
            for request in (_SIOCGIFADDR, _SIOCGIFNETMASK)
        )
    except OSError:  # it has none
        return ()
    return (f"{ipaddress.IPv4Address(address)}/{int.from_bytes(mask, 'big').bit_count()}",)
