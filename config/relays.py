"""Components that reach hosts for their callers: whose rules they go by. Pure.

A component with `relay` under its needs gets the egress rules of every component that policy lets call it, and those
that the operator lists for clients: so the supervisor lets it reach those hosts, and no others. Which of them are whose
it is told, and judges each request by the rules of its caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tlsrt.config.access import PolicyRule, rights_of
from tlsrt.config.components import ComponentConfig
from tlsrt.config.needs import EgressConfig, RelayConfig


def with_relays(components: Sequence[ComponentConfig], policy: Iterable[PolicyRule]) -> tuple[ComponentConfig, ...]:
    """Return the components, those that relay with the rules of their callers."""
    rules = [*policy]
    return tuple(
        one if one.needs.relay is None else _relaying(one, one.needs.relay, components, rules) for one in components
    )


def _relaying(
    one: ComponentConfig, relay: RelayConfig, components: Sequence[ComponentConfig], policy: Sequence[PolicyRule]
) -> ComponentConfig:
    callers: dict[str, tuple[EgressConfig, ...]] = {
        other.address: other.needs.egress
        for other in components
        if other.address != one.address and other.needs.egress and rights_of(other.address, policy, [one.address])
    }
    callers |= {name: entries for name, entries in relay.clients.items() if rights_of(name, policy, [one.address])}
    reaches = {name: tuple(rule for entry in entries for rule in entry.rules) for name, entries in callers.items()}
    entries = dict.fromkeys([*one.needs.egress, *(entry for each in callers.values() for entry in each)])
    needs = replace(one.needs, egress=tuple(entries), relay=replace(relay, reaches=reaches))
    return replace(one, needs=needs)
