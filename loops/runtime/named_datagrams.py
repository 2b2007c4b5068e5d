"""Datagrams that name their host: `sendto` in a process with egress connects the socket first, then sends.

A convenience and no guard. Nothing there may name an address while it sends (sandbox/profiles/internet.yaml): the
supervisor connects a socket to what a rule lists, and it hears its peer alone. Clients of SNMP, DNS or NTP name the
host with each datagram instead, on one socket that is never connected. So that is done for them: a socket is of the
host that it has spoken to last, and what another one answers later is not heard. A library in C does not pass here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from typing import Any

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def connecting_first(real: Callable[..., Any], granted: Collection[int]) -> Callable[..., Any]:
    """Return what stands in for `sendto` of a socket; those of `granted` numbers answer whom they choose, or may."""

    def sendto(own: socket.socket, data: Any, *arguments: Any) -> Any:
        if own.type != socket.SOCK_DGRAM or own.family not in _FAMILIES or own.fileno() in granted or not arguments:
            return real(own, data, *arguments)
        *flags, address = arguments
        if _peer_of(own) != address[:2]:
            own.connect(address)
            own.getsockopt(
                socket.SOL_SOCKET, socket.SO_ERROR
            )  # what the host before has left, which is not of this one
        return own.send(data, *flags)

    return sendto


def _peer_of(own: socket.socket) -> Any:
    try:
        return own.getpeername()[:2]
    except OSError:  # it has none yet
        return None
