"""Egress rules of addresses, what a loop may reach: `ADDRESS[/PREFIX]:PORT[-PORT][/udp]`. Pure.

`*` stands for any public address or any port: what is near (this host, its neighbours, the metadata service of a cloud)
is reached only by a rule that names its address or network. An IPv6 address is written in brackets, as in
`[2001:db8::]/32:443`. Rules of names are in `name_rules.py`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from tlsrt.config.public_address import Address, Network, lets, names_near, plain_host, special_network

Protocol = Literal["tcp", "udp"]

FORM = re.compile(
    r"(?:(\*)|\[([0-9A-Fa-f:.]+)\](/\d{1,3})?|([^\s\[\]:/]+)(/\d{1,2})?):(?:(\*)|(\d{1,5})(?:-(\d{1,5}))?)(?:/(tcp|udp))?"
)
SAYS = (
    "an egress rule, HOST:PORT[-PORT][/udp] with a name or ADDRESS[/PREFIX], such as mqtt.example.org:8883, "
    "192.0.2.7:443, [2001:db8::]/32:443 or *:123/udp"
)
LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class EgressRule:
    """One rule: a protocol, an address range (None: any public one) and an inclusive range of ports."""

    protocol: Protocol
    network: Network | None
    first_port: int
    last_port: int

    @property
    def form(self) -> str:
        """Return all of it as one text."""
        return str(self)

    def names(self, host: Address) -> bool:
        """Tell whether it names an address that is near, alone or by its network."""
        return self.network is not None and names_near(self.network, host)

    def may_reach(self, host: Address) -> bool:
        """Tell whether an address is one of its own; of a host's own public ones the caller asks `names`."""
        return special_network(host) is None if self.network is None else lets(self.network, host)

    def __str__(self) -> str:
        ports = ports_text(self.first_port, self.last_port)
        return f"{_host(self.network)}:{ports}{'/udp' if self.protocol == 'udp' else ''}"


def ports_text(first: int, last: int) -> str:
    """Return a range of ports as a rule says it."""
    if first == last:
        return str(first)
    return "*" if (first, last) == (1, LAST_PORT) else f"{first}-{last}"


def parse_egress(text: str) -> EgressRule:
    """Return the rule that a text says. Raises ValueError with a sentence for people."""
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not {SAYS}")
    any_host, six, six_prefix, four, four_prefix, any_port, first, last, protocol = match.groups()
    network: Network | None = None
    if not any_host:
        try:
            network = (
                ipaddress.IPv6Network(six + (six_prefix or ""))
                if six
                else ipaddress.IPv4Network(four + (four_prefix or ""))
            )
        except ValueError as error:
            raise ValueError(_bad_host(text, four, error)) from None
    first_port, last_port = (1, LAST_PORT) if any_port else (int(first), int(last or first))
    if not 0 < first_port <= last_port <= LAST_PORT:
        raise ValueError(f"{text!r}: ports go from 1 to {LAST_PORT}, the smaller first")
    return EgressRule("udp" if protocol == "udp" else "tcp", network, first_port, last_port)


def egress_rule_for(
    rules: Iterable[EgressRule], protocol: str, address: bytes, port: int, *, is_own: Callable[[], bool] | None = None
) -> EgressRule | None:
    """Return the first rule that allows this address (4 or 16 bytes) and port, or None.

    An IPv4 address inside an IPv6 one (::ffff:0:0/96) counts as the IPv4 address, as the kernel sends it. `is_own`
    tells whether the address is this host's, which only a rule that names it allows; without it that is not asked.
    """
    host = plain_host(address)
    for rule in rules:
        fits = rule.protocol == protocol and rule.first_port <= port <= rule.last_port and rule.may_reach(host)
        if fits and (is_own is None or rule.names(host) or not is_own()):
            return rule
    return None


def near_hint(rules: Iterable[EgressRule], protocol: str, address: bytes, port: int) -> str:
    """Return that a rule would hold if its address were public, in words that continue a refusal; "" if none would."""
    host = plain_host(address)
    for rule in rules:
        holds = rule.network is None or (rule.network.version == host.version and host in rule.network)
        if holds and rule.protocol == protocol and rule.first_port <= port <= rule.last_port:
            return f"; {rule} means public addresses, and this is none: a rule must name it"
    return ""


def is_listed(rules: Iterable[EgressRule], target: str) -> bool:
    """Tell whether some rule allows one host and port, written as a rule; none does for what is no rule."""
    try:
        wanted = parse_egress(target)
    except ValueError:
        return False
    if wanted.network is None:
        return False
    address = wanted.network.network_address.packed
    return egress_rule_for(rules, wanted.protocol, address, wanted.first_port) is not None


def _host(network: Network | None) -> str:
    if network is None:
        return "*"
    address = f"[{network.network_address}]" if network.version == 6 else str(network.network_address)
    return address if network.prefixlen == network.max_prefixlen else f"{address}/{network.prefixlen}"


def _bad_host(text: str, four: str | None, error: ValueError) -> str:
    if four is not None and not re.fullmatch(r"[0-9.]+", four):
        return f"{text!r}: {four} is a name; only an address can stand here"
    return f"{text!r}: {error}"
