"""Addresses that names of egress rules have now: found by the resolver, judged by the supervisor, asked by the broker.

One table for all processes of a life, changed while they run. An address is checked against the rule again whenever it
is used, since two rules may have the same name and differ in the networks that they allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tlsrt.config.name_rules import NameRule
from tlsrt.config.public_address import plain_host


class NamePins:
    """name -> its addresses, of 4 or 16 bytes each."""

    def __init__(self) -> None:
        self._pinned: dict[str, frozenset[bytes]] = {}
        self.settled: set[str] = set()  # names that were asked for, whatever came of it

    def set(self, name: str, addresses: Iterable[bytes]) -> None:
        """Replace what a name has."""
        self._pinned[name] = frozenset(addresses)

    def forget(self, names: Iterable[str]) -> None:
        """Take names out that no rule has any more."""
        for name in names:
            self._pinned.pop(name, None)
            self.settled.discard(name)

    def all(self) -> Mapping[str, frozenset[bytes]]:
        return self._pinned

    def rule_for(
        self, rules: Iterable[NameRule], protocol: str, address: bytes, port: int, *,
        is_own: Callable[[], bool] | None = None,
    ) -> NameRule | None:  # fmt: skip
        """Return the first rule whose name has this address (4 or 16 bytes), and that allows it and the port.

        `is_own` tells whether the address is this host's by now, which only a rule with networks allows.
        """
        host = plain_address(address)
        for rule in rules:
            is_its = rule.covers(protocol, port) and host in self._pinned.get(rule.name, ()) and rule.may_be(host)
            if is_its and (rule.within or is_own is None or not is_own()):
                return rule
        return None


def plain_address(address: bytes) -> bytes:
    """Return an address as the kernel sends it: of an IPv4 address inside an IPv6 one (::ffff:0:0/96) that."""
    return plain_host(address).packed
