"""Rules of a firewall as an operator declares them: chains, rules and named sets, each value typed and checked. Pure.

What gets through here is numbers, addresses, and names of few characters: nothing of it is text of nft.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from tlsrt import Length, Pattern, Range

RULES, SETS, ELEMENTS = 128, 16, 256  # of one firewall, and of one set as declared
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Version = Literal[4, 6]
HOOKS = ("input", "output", "forward")

NAME = re.compile("[a-z][a-z0-9_]{0,23}")
Name = Annotated[str, Pattern(NAME, "a name of small letters, digits and _, at most 24")]
Interface = Annotated[
    str, Pattern(re.compile(r"[A-Za-z0-9_.:@-]{1,15}"), "the name of an interface, at most 15 characters")
]
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_RATE = re.compile(r"([0-9]{1,7})/(second|minute|hour|day)")
Place = Annotated[str, Length(64, 1)]
Protocol = Literal["any", "tcp", "udp", "icmp", "icmpv6"]
State = Literal["new", "established", "related", "invalid", "untracked"]
_WITH_PORTS = ("tcp", "udp")


@dataclass(frozen=True, kw_only=True)
class AddressSet:
    """A named set of addresses: those that are declared, and with `timeout_s` those that methods put in."""

    version: Version = 4
    elements: Annotated[tuple[Place, ...], Length(ELEMENTS)] = ()
    timeout_s: Annotated[int, Range(0, 31_536_000)] = 0  # of what methods put in; 0: they may put in nothing
    most: Annotated[int, Range(1, 65536)] = 4096  # elements that it holds

    def networks(self) -> list[Network]:
        """Return the declared elements. Raises ValueError with a sentence."""
        return [network_of(one, self.version) for one in self.elements]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: all that is said of it must fit a packet. What is not said fits all."""

    name: Name
    action: Literal["accept", "drop", "reject", "count"]
    interfaces: Annotated[tuple[Interface, ...], Length(16)] = ()  # on which the packet comes in
    out_interfaces: Annotated[tuple[Interface, ...], Length(16)] = ()
    protocol: Protocol = "any"
    ports: Annotated[tuple[str | int, ...], Length(32)] = ()  # of the destination
    source_ports: Annotated[tuple[str | int, ...], Length(32)] = ()
    sources: Annotated[tuple[Place, ...], Length(64)] = ()  # addresses, networks, and @SET
    destinations: Annotated[tuple[Place, ...], Length(64)] = ()
    states: Annotated[tuple[State, ...], Length(5)] = ()
    rate: Annotated[str, Length(24)] = ""  # COUNT/second: what goes beyond it does not fit
    burst: Annotated[int, Range(1, 65535)] = 5
    log: bool = False

    def check(self, chain: str, sets: Mapping[str, AddressSet]) -> None:
        """Refuse what does not go together. Raises ValueError with a sentence."""
        where = f"{chain}: rule {self.name}"
        if (self.ports or self.source_ports) and self.protocol not in _WITH_PORTS:
            raise ValueError(f"{where} has ports, which only tcp and udp have: say `protocol: tcp`, or remove them")
        if (chain == "output" and self.interfaces) or (chain == "input" and self.out_interfaces):
            name = "interfaces" if chain == "output" else "out_interfaces"
            raise ValueError(f"{where} has `{name}`, which a packet of this chain has not: remove it")
        try:
            for one in (*self.ports, *self.source_ports):
                ports_of(one)
            if self.rate:
                rate_of(self.rate)
            for place in (*self.sources, *self.destinations):
                if not place.startswith("@"):
                    network_of(place)
                elif place[1:] not in sets:
                    known = ", ".join(sets) or "none is declared"
                    raise ValueError(f"there is no set {place[1:]}: {known}")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if not self.versions(sets):
            raise ValueError(
                f"{where} fits no packet: its protocol, sources and destinations are of both IPv4 and IPv6"
            )

    def versions(self, sets: Mapping[str, AddressSet]) -> list[Version]:
        """Return the versions of IP of packets that it can fit."""
        found: list[Version] = [4, 6]
        if self.protocol in ("icmp", "icmpv6"):
            found = [4] if self.protocol == "icmp" else [6]
        for places in (self.sources, self.destinations):
            if places:
                held = versions_of(places, sets)
                found = [one for one in found if one in held]
        return found

    @property
    def is_narrow(self) -> bool:
        """Tell whether it fits only some senders, interfaces or rates."""
        return bool(self.interfaces or self.out_interfaces or self.sources or self.destinations or self.rate)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The rules of one hook in their order, and what becomes of a packet that none of them decides."""

    policy: Literal["accept", "drop"] = "accept"
    rules: Annotated[tuple[Rule, ...], Length(RULES)] = ()


@dataclass(frozen=True, kw_only=True)
class Ruleset:
    """All that is declared. A chain that is not there is not touched."""

    sets: Mapping[str, AddressSet] = field(default_factory=dict[str, AddressSet])
    chains: Mapping[str, Chain] = field(default_factory=dict[str, Chain])

    def check(self) -> None:
        """Refuse what does not go together. Raises ValueError with a sentence."""
        if len(self.sets) > SETS:
            raise ValueError(f"sets: at most {SETS}")
        for name, one in self.sets.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"sets: {name[:24]!r} must be a name of small letters, digits and _, at most 24")
            try:
                one.networks()
            except ValueError as error:
                raise ValueError(f"set {name}: {error}") from None
        for chain, its in self.chains.items():
            names = [one.name for one in its.rules]
            if twice := [one for one in names if names.count(one) > 1]:
                raise ValueError(f"{chain}: there are two rules {twice[0]}: choose another name for one")
            for rule in its.rules:
                rule.check(chain, self.sets)
        if sum(len(its.rules) for its in self.chains.values()) > RULES:
            raise ValueError(f"at most {RULES} rules in all chains together")


def network_of(text: str, version: Version | None = None) -> Network:
    """Return an address or network, of a version of IP if one is given. Raises ValueError with a sentence."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text[:64]!r} is no address and no network such as 192.0.2.0/24") from None
    if "%" in text:
        raise ValueError(f"{text[:64]!r} has a zone: say `interfaces` instead")
    if version is not None and network.version != version:
        raise ValueError(f"{text} is of IPv{network.version}, and the set of IPv{version}")
    return network


def ports_of(value: str | int) -> tuple[int, int]:
    """Return the first and last port of `22` or `8000-8010`. Raises ValueError with a sentence."""
    match = _PORTS.fullmatch(str(value))
    if match is not None:
        first = int(match[1])
        last = int(match[2] or first)
        if 0 < first <= last < 65536:
            return first, last
    raise ValueError(f"{str(value)[:24]!r} is no port of 1 to 65535, and no range such as 8000-8010")


def rate_of(text: str) -> tuple[int, str]:
    """Return count and unit of `10/second`. Raises ValueError with a sentence."""
    match = _RATE.fullmatch(text)
    if match is None or not int(match[1]):
        raise ValueError(f"{text!r} is no rate such as 10/second; minute, hour and day are there too")
    return int(match[1]), match[2]


def versions_of(places: Iterable[str], sets: Mapping[str, AddressSet]) -> set[Version]:
    """Return the versions of IP of addresses, networks and sets."""
    return {
        sets[one[1:]].version if one.startswith("@") else (4 if network_of(one).version == 4 else 6) for one in places
    }
