"""Routes as messages of rtnetlink(7). Pure.

All routes of components carry a protocol number of their own, by which the kernel tells them from others: to remove one
never removes an administrator's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from tlsrt.supervisor.helper.netlink import ACK, CREATE, EXCLUSIVE, REQUEST, attribute, message

PROTOCOL = 116  # of routes, in the range that the kernel leaves to programs (above RTPROT_STATIC, 4)
_NEW, _REMOVE = 24, 25  # RTM_NEWROUTE, RTM_DELROUTE
_FAMILIES = {4: (2, 4), 6: (10, 16)}  # version of IP -> AF_INET or AF_INET6, bytes of an address
_MAIN, _UNICAST = 254, 1  # RT_TABLE_MAIN, RTN_UNICAST
_UNIVERSE, _NOWHERE = 0, 255  # scopes: where it leads, and any, to remove it
_TO, _DEVICE, _GATEWAY, _METRIC = 1, 4, 5, 6  # RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY
_HEADER = struct.Struct("=8BI")


@dataclass(frozen=True, slots=True)
class Route:
    """A route in the host's main table; addresses are numbers."""

    version: int  # of IP
    to: int
    prefix: int
    via: int
    device: int  # its index; 0: the one through which the gateway is reached
    metric: int


def set_route(route: Route, sequence: int) -> bytes:
    """Return the message that makes a route, where there is none of the same metric."""
    return message(_NEW, REQUEST | ACK | CREATE | EXCLUSIVE, sequence, _body(route, _UNIVERSE))


def remove_route(route: Route, sequence: int) -> bytes:
    """Return the message that removes a route, if a component has made it."""
    return message(_REMOVE, REQUEST | ACK, sequence, _body(route, _NOWHERE if route.version == 4 else _UNIVERSE))


def remove_other(route: Route, sequence: int) -> bytes:
    """Return the message that removes a component's route of the same metric, whatever its gateway and device."""
    scope = _NOWHERE if route.version == 4 else _UNIVERSE
    return message(_REMOVE, REQUEST | ACK, sequence, _body(replace(route, device=0), scope, has_gateway=False))


def _body(route: Route, scope: int, *, has_gateway: bool = True) -> bytes:
    family, size = _FAMILIES[route.version]
    header = _HEADER.pack(family, route.prefix, 0, 0, _MAIN, PROTOCOL, scope, _UNICAST, 0)
    device = attribute(_DEVICE, struct.pack("=I", route.device)) if route.device else b""
    gateway = attribute(_GATEWAY, route.via.to_bytes(size, "big")) if has_gateway else b""
    to, metric = attribute(_TO, route.to.to_bytes(size, "big")), attribute(_METRIC, struct.pack("=I", route.metric))
    return b"".join([header, to, gateway, device, metric])
