"""Hosts that a component reaches for its callers: judged by the egress rules of the one that calls."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence

from tlsrt.config.egress import egress_rule_for
from tlsrt.config.name_rules import Rule, address_rules, name_rules
from tlsrt.config.public_address import plain_host
from tlsrt.errors import Denied, Unavailable
from tlsrt.text import printable

_SHOWN = 100  # characters of a host in a sentence


class Relay:
    """The rules of all callers."""

    def __init__(self, reaches: Mapping[str, Sequence[Rule]]) -> None:
        self._reaches = reaches

    async def reach_for(self, caller: str, host: str, port: int) -> list[str]:
        """Return the addresses at which a caller may reach a host over TCP. Raises Denied and Unavailable."""
        rules = self._reaches.get(caller, ())
        place = f"{printable(host)[:_SHOWN]}:{port}"
        where = "`clients` of the relay" if caller.startswith("client/") else "the egress of its needs"
        denied = Denied(f"no egress rule of {caller} lists {place}: add it under {where}, if it should")
        try:
            literal = None if "%" in host else ipaddress.ip_address(host)
        except ValueError:
            literal = None
        if literal is not None:
            if egress_rule_for(address_rules(rules), "tcp", literal.packed, port) is None:
                raise denied
            return [str(literal)]
        name = host.lower()
        mine = [rule for rule in name_rules(rules) if rule.name == name and rule.covers("tcp", port)]
        if not mine:
            raise denied
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except socket.gaierror:
            raise Unavailable(f"{name} has no address now") from None
        addresses = dict.fromkeys(str(plain_host(ipaddress.ip_address(place[0]).packed)) for *_, place in found)
        allowed = [one for one in addresses if any(rule.may_be(ipaddress.ip_address(one).packed) for rule in mine)]
        if not allowed:
            raise Unavailable(f"{name} has no address that the rules of {caller} allow")
        return allowed
