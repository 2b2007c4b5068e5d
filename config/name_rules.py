"""Egress rules of names, `NAME:PORT[-PORT][/udp]`, and which addresses a name may have. Pure.

What a name means is decided by the server that answers for it. So tlsrt asks itself, in a process that does nothing
else, and a component reaches the addresses that were found and no others; and whatever the server says, a name leads to
a public address, or into the networks that the rule lists under `within`. So a name cannot lead to what is near: the
host itself, its neighbours, the metadata service of a cloud.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tlsrt.config.egress import LAST_PORT, EgressRule, Protocol, parse_egress, ports_text
from tlsrt.config.public_address import Network, is_public, lets

LONGEST_NAME = 253
_FORM = re.compile(r"([^\s\[\]:/]*[^\s\[\]:/0-9.][^\s\[\]:/]*):(?:(\*)|(\d{1,5})(?:-(\d{1,5}))?)(?:/(tcp|udp))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class NameRule:
    """One rule: a protocol, a name in lower case, an inclusive range of ports; networks of its addresses, if any."""

    protocol: Protocol
    name: str
    first_port: int
    last_port: int
    within: tuple[Network, ...] = ()  # none: any public address

    def __str__(self) -> str:
        return f"{self.name}:{ports_text(self.first_port, self.last_port)}{'/udp' if self.protocol == 'udp' else ''}"

    @property
    def form(self) -> str:
        """Return all of it as one text."""
        return " ".join([str(self), *sorted(map(str, self.within))])

    def may_be(self, address: bytes) -> bool:
        """Tell whether its name may have an address, of 4 or 16 bytes."""
        host = ipaddress.ip_address(address)
        if not self.within:
            return is_public(host)
        return any(lets(network, host) for network in self.within)

    def covers(self, protocol: str, port: int) -> bool:
        """Tell whether a protocol and port are the rule's."""
        return self.protocol == protocol and self.first_port <= port <= self.last_port


Rule = EgressRule | NameRule


def parse_rule(text: str) -> Rule:
    """Return the rule that a text says, of addresses or of a name. Raises ValueError with a sentence for people."""
    match = _FORM.fullmatch(text)
    if match is None or match[1] == "*":
        return parse_egress(text)
    name = match[1].lower()
    problem = name_problem(name)
    if problem:
        raise ValueError(f"{text!r}: {problem}")
    try:
        ports = parse_egress(f"*:{text.partition(':')[2]}")
    except ValueError:
        raise ValueError(f"{text!r}: ports go from 1 to {LAST_PORT}, the smaller first") from None
    return NameRule(ports.protocol, name, ports.first_port, ports.last_port)


def name_problem(name: str) -> str:
    """Return why a text in lower case is no name of a host that a rule can have; "" if it is one."""
    if "*" in name:
        return (
            "a rule names each host: a component that may ask for any name below a domain can tell its server "
            "anything; write the names that it needs"
        )
    if not name.isascii():
        return "write a name as the DNS has it, in ASCII (xn--...)"
    if name.endswith("."):
        return "write the name without the dot at its end"
    labels = name.split(".")
    if len(name) > LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return f"{name} is no name of a host"
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        return f"{name} would be read as an address"
    return ""


def parse_network(text: str) -> Network:
    """Return a network, ADDRESS[/PREFIX]. Raises ValueError with a sentence for people."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a network, such as 192.168.1.0/24: {error}") from None


def address_rules(rules: Iterable[Rule]) -> tuple[EgressRule, ...]:
    """Return those of addresses, each once."""
    return tuple(dict.fromkeys(rule for rule in rules if isinstance(rule, EgressRule)))


def name_rules(rules: Iterable[Rule]) -> tuple[NameRule, ...]:
    """Return those of names, each once."""
    return tuple(dict.fromkeys(rule for rule in rules if isinstance(rule, NameRule)))
