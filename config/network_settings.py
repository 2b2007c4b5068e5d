"""Settings of the host's network: a route, and elements of one set of nftables, as a component may have them set.

What a component may choose is one number out of ranges: the address of a gateway, or an element. Addresses are numbers
here, and only here and in the component are they text.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal

from tlsrt.config.number_ranges import Values
from tlsrt.config.setting import boolean, count, listing, text

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Family = Literal["inet", "ip", "ip6", "arp", "bridge", "netdev"]
ElementType = Literal["ipv4_addr", "ipv6_addr", "inet_service", "ether_addr"]
LEAST_PREFIX = {4: 8, 6: 16}  # a route to more of the network takes all traffic of the host
GATEWAYS_MAX = 65536
_DEVICE = "[A-Za-z0-9_.:@-]{1,15}"  # IFNAMSIZ, without what means something elsewhere
_NFT_NAME = "[A-Za-z_][A-Za-z0-9_.-]{0,62}"
_NFT_SAYS = "a name of letters, digits, _, . and -, starting with a letter, at most 63 characters"
_ETHER = re.compile("[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
FAMILIES = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}  # NFPROTO_*
TYPES = {"ipv4_addr": (7, 4), "ipv6_addr": (8, 16), "ether_addr": (9, 6), "inet_service": (13, 2)}  # number, bytes
_VERSIONS = {"ipv4_addr": 4, "ipv6_addr": 6}


def route_to(value: str) -> Network:
    """Return the network of a route. Raises ValueError with a sentence for one that no component gets a route to."""
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        raise ValueError(f"to must be a network such as 10.9.0.0/16, not {value}") from None
    if network.prefixlen < LEAST_PREFIX[network.version]:
        raise ValueError(
            f"to must be a network of /{LEAST_PREFIX[network.version]} or smaller, not {value}: a route to so much "
            "would take all traffic of the host"
        )
    if network.is_loopback or network.is_multicast or network.is_link_local:
        raise ValueError(f"to must be a network that is reached through a gateway; {value} never is")
    return network


def number_of(kind: str, value: object) -> int:
    """Return an address, port or Ethernet address as a number. Raises ValueError with a sentence."""
    if kind == "inet_service":
        if type(value) is int and 0 <= value < 1 << 16:
            return value
        raise ValueError(f"must be a port, a whole number below 65536, not {value!r}")
    if type(value) is str and kind == "ether_addr" and _ETHER.fullmatch(value):
        return int(value.replace(":", ""), 16)
    try:
        if type(value) is str and (version := _VERSIONS.get(kind)):
            return int(ipaddress.IPv4Address(value) if version == 4 else ipaddress.IPv6Address(value))
    except ValueError:
        pass
    says = {"ipv4_addr": "an IPv4 address", "ipv6_addr": "an IPv6 address", "ether_addr": "an Ethernet address"}[kind]
    raise ValueError(f"must be {says}, not {value!r}")


def text_of(kind: str, number: int) -> str:
    """Return a number as people write it."""
    if kind == "ether_addr":
        return ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))
    if kind in _VERSIONS:
        return str(ipaddress.IPv4Address(number) if kind == "ipv4_addr" else ipaddress.IPv6Address(number))
    return str(number)


def range_of(kind: str, value: str) -> tuple[int, int]:
    """Return the ends of `FIRST-LAST`, of a network or of one address, port or Ethernet address. Raises ValueError."""
    try:
        if kind in _VERSIONS and "/" in value:
            network = (ipaddress.IPv4Network if kind == "ipv4_addr" else ipaddress.IPv6Network)(value)
            return int(network[0]), int(network[-1])
        first, dash, last = (part.strip() for part in value.partition("-"))
        low, high = (
            number_of(kind, int(one) if kind == "inet_service" and re.fullmatch("[0-9]{1,5}", one) else one)
            for one in (first, last if dash else first)
        )
    except ValueError:
        raise ValueError(f"{value} is no range of {kind}") from None
    if low > high:
        raise ValueError(f"{value} is no range, since it must rise")
    return low, high


def ranges_of(kind: str, values: tuple[str, ...]) -> Values:
    """Return what several ranges hold. Raises ValueError with a sentence."""
    return Values(tuple(range_of(kind, one) for one in values))


_RANGE = text("A range FIRST-LAST, a network, or one value.", least=1, most=100)
KEEP = boolean("Leave it when the component's process has ended; else it is undone then.")


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """A route of the host's main table; the component chooses its gateway: `await self.set("uplink", "10.0.0.9")`."""

    to: Network = field(
        metadata=text(
            "The network, ADDRESS/PREFIX; never the default route.", parse=route_to, most=64, example="10.9.0.0/16"
        )
    )
    via: tuple[str, ...] = field(
        metadata=listing(
            "Gateways: ranges, networks, or addresses.", _RANGE, 16, least=1, example="[10.0.0.1-10.0.0.9]"
        )
    )
    devices: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Network devices of which it may choose one, `10.0.0.9%eth1`; none: the one that reaches the gateway.",
            text("A device.", pattern=_DEVICE, says="the name of a network device"),
            16,
            example="[eth1]",
        ),
    )
    metric: int = field(
        default=1024,
        metadata=count("Its metric: of two routes to a network, the one with the lower is used.", 1, 1 << 31),
    )
    keep: bool = field(default=False, metadata=KEEP)

    @property
    def kind(self) -> str:
        return "ipv4_addr" if self.to.version == 4 else "ipv6_addr"

    @property
    def accepts(self) -> Values:
        return ranges_of(self.kind, self.via)

    def __str__(self) -> str:
        through = f" on {' or '.join(self.devices)}" if self.devices else ""
        return f"route to {self.to} via {', '.join(self.via)}{through}, metric {self.metric}"


@dataclass(frozen=True, slots=True)
class SetConfig:
    """One set of nftables; the component puts elements into it and takes them out."""

    table: str = field(metadata=text("Its table.", pattern=_NFT_NAME, says=_NFT_SAYS, example="filter"))
    set: str = field(metadata=text("Its name.", pattern=_NFT_NAME, says=_NFT_SAYS, example="blocked"))
    type: ElementType = field(
        metadata=text("What it holds.", choices=("ipv4_addr", "ipv6_addr", "inet_service", "ether_addr"))
    )
    values: tuple[str, ...] = field(
        metadata=listing(
            "The elements: ranges, networks, or single ones.", _RANGE, 64, least=1, example="[192.0.2.0/24]"
        )
    )
    family: Family = field(
        default="inet",
        metadata=text("The family of its table.", choices=("inet", "ip", "ip6", "arp", "bridge", "netdev")),
    )
    timeout_s: int = field(
        default=0,
        metadata=count(
            "Time after which the kernel takes an element out; 0: that of the set, or never.", 0, 31_536_000, unit="s"
        ),
    )
    keep: bool = field(default=False, metadata=KEEP)

    @property
    def kind(self) -> str:
        return self.type

    @property
    def accepts(self) -> Values:
        return ranges_of(self.type, self.values)

    def __str__(self) -> str:
        for_s = f", each for {self.timeout_s} s" if self.timeout_s else ""
        return f"{self.type} of {', '.join(self.values)} in set {self.set} of table {self.family} {self.table}{for_s}"
