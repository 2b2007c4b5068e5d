"""Admission: how many connections, from where and how often. Pure.

A connection is charged to its address until it has proved who it is: until the authority has granted it a session.
An IPv6 host owns a /64, so that is what counts as one address there.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

from tlsrt.rate_limit import Buckets


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Connections in all, and of those that have not proved who they are: in all and per address."""

    connections: int = 1024
    unauthenticated: int = 256
    per_address: int = 16
    rate: float = 50.0  # new connections a second of one address, in the long run
    burst: float = 500.0  # and at once


def address_key(host: str) -> str:
    """Return what an address is counted as: itself, an IPv4 address inside an IPv6 one, or its /64."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def plain_address(host: str) -> str:
    """Return an address as one text: without a zone, an IPv4 address inside an IPv6 one as itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class Admission:
    """The counters. Every `admit` that returns "" must be followed by exactly one `leave`."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._addresses: Counter[str] = Counter()
        self._rates = Buckets(limits.burst, limits.rate)
        self.connections = 0
        self.unauthenticated = 0

    def admit(self, key: str, now: float = 0.0, share: int = 1) -> str:
        """Count a new connection and return "", or the word why it is refused. `now` is seconds, monotonic.

        With a `share` of 4 the address has a quarter of what others have.
        """
        if self.connections >= self._limits.connections:
            return "too_many_connections"
        if self.unauthenticated >= self._limits.unauthenticated:
            return "too_many_unauthenticated"
        if self._addresses[key] >= max(1, self._limits.per_address // share):
            return "too_many_from_address"
        if not self._rates.take(key, now, share):
            return "too_fast_from_address"
        self.connections += 1
        self.unauthenticated += 1
        self._addresses[key] += 1
        return ""

    def crowd(self, key: str) -> str:
        """Return the address that has most unauthenticated connections, if it has two more than this one; else "".

        When there is no room left, one of those makes room: so an address that fills it excludes itself first.
        """
        most, count = max(self._addresses.items(), key=lambda item: item[1], default=("", 0))
        return most if count >= self._addresses[key] + 2 else ""

    def authenticate(self, key: str) -> None:
        """Count a connection no longer against its address: it has proved who it is."""
        self.unauthenticated -= 1
        self._addresses[key] -= 1
        if not self._addresses[key]:
            del self._addresses[key]

    def leave(self, key: str, *, authenticated: bool) -> None:
        """Count a connection no longer: it is closed."""
        self.connections -= 1
        if not authenticated:
            self.authenticate(key)
