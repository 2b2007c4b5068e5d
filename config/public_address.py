"""Which addresses are of the Internet, and which are near: this host, its neighbours, and what leads to them. Pure.

Source: the special-purpose registries of IANA (RFC 6890). An address that carries another one inside counts as that one
(IPv4-mapped, NAT64), or is never public (6to4, Teredo, ISATAP), since who answers for it decides where it leads.
"""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SPECIAL_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # the metadata service of one cloud, which has a public address everywhere
    )
)  # fmt: skip
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "::/128", "::1/128", "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/23",
        "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10",
        "ff00::/8",
    )
)  # fmt: skip
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the IPv4 address is its end
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: the third word of an address that has an IPv4 address at its end


def special_network(host: Address) -> Network | None:
    """Return the network of which an address is, if that is not the Internet: the smallest one that is known."""
    if isinstance(host, ipaddress.IPv4Address):
        return _smallest(host, _SPECIAL_4)
    if host in _NAT64:
        inside = special_network(ipaddress.IPv4Address(host.packed[-4:]))
        if inside is None:
            return None
        start = _NAT64.network_address.packed[:12] + inside.network_address.packed
        return ipaddress.IPv6Network((start, 96 + inside.prefixlen))
    found = _smallest(host, _SPECIAL_6)
    if found is not None:
        return found
    if int.from_bytes(host.packed[8:12], "big") in _ISATAP:
        return ipaddress.IPv6Network(host)
    return None if host in _PUBLIC_6 else ipaddress.IPv6Network((host, 3), strict=False)


def is_public(host: Address) -> bool:
    """Tell whether an address is one of the Internet: not this host, not its neighbours, and nothing special."""
    return special_network(host) is None


def names_near(network: Network, host: Address) -> bool:
    """Tell whether a network of a rule names an address that is near: it is that address, or all of it is near.

    A network that holds more than what is near (0.0.0.0/0) says of it as little as `*`.
    """
    if network.version != host.version or host not in network:
        return False
    near = special_network(host)
    return network.num_addresses == 1 or (near is not None and _holds(near, network))


def lets(network: Network, host: Address) -> bool:
    """Tell whether a network of a rule lets an address: one that it holds and, if that is near, names."""
    is_inside = network.version == host.version and host in network
    return is_inside and (special_network(host) is None or names_near(network, host))


def plain_host(address: bytes) -> Address:
    """Return an address (4 or 16 bytes) as the kernel sends it: of an IPv4-mapped one (::ffff:0:0/96) the inner."""
    host = ipaddress.ip_address(address)
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        return host.ipv4_mapped
    return host


def _smallest(host: Address, networks: tuple[Network, ...]) -> Network | None:
    found = [one for one in networks if host in one]
    return max(found, key=lambda one: one.prefixlen, default=None)


def _holds(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and outer.prefixlen <= inner.prefixlen and inner.network_address in outer
