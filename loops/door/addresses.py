"""Addresses of peers: what one is counted as, and the networks that it lies in. Pure."""

from __future__ import annotations

import ipaddress

NETWORKS = (48, 56, 64)  # what a site, a household and a host usually get of IPv6 (RFC 6177), the widest first


def address_key(host: str) -> str:
    """Return what an address is counted as: itself, an IPv4 address inside an IPv6 one, or its /64."""
    return networks_of(host)[-1]


def networks_of(host: str) -> tuple[str, ...]:
    """Return the networks of an address, the widest first; the last is what it is counted as.

    An IPv4 address is one network: its neighbours belong to others. An IPv6 host has as many addresses as it likes.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return (host,)
    if isinstance(address, ipaddress.IPv4Address):
        return (str(address),)
    if address.ipv4_mapped is not None:
        return (str(address.ipv4_mapped),)
    return tuple(str(ipaddress.IPv6Network((address, length), strict=False)) for length in NETWORKS)


def plain_address(host: str) -> str:
    """Return an address as one text: without a zone, an IPv4 address inside an IPv6 one as itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
