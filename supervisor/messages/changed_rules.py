"""What a reload changes for a running authority: the policy, and which process hosts which components. Pure.

The authority is forked with the configuration and reads no file, so it gets this as msgpack in a memfd.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import msgpack

from tlsrt.config.access import PolicyRule
from tlsrt.config.components import ComponentConfig, LoopConfig
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

RULES_MAX = 16 << 20  # 4096 lines of 256 methods of 64 characters would be four times as much; no file holds that


class ChangedRules(NamedTuple):
    """A policy, and the addresses of the components of each process, in the order of the configuration."""

    policy: tuple[PolicyRule, ...]
    processes: tuple[tuple[str, tuple[str, ...]], ...]
    grants: tuple[str, ...] = ()  # what the supervisor opens for components, in words for the record

    @property
    def components(self) -> tuple[str, ...]:
        """Return the addresses of all components."""
        return tuple(address for _, addresses in self.processes for address in addresses)

    def include(self, before: ChangedRules) -> bool:
        """Tell whether each right by the rules before is one by these, and each component is in the same process."""
        lines = {(rule.source, rule.target): {*rule.methods} for rule in self.policy}
        placed = {address: name for name, addresses in self.processes for address in addresses}
        is_kept = all({*one.methods} <= lines.get((one.source, one.target), set()) for one in before.policy)
        return is_kept and all(placed.get(one) == name for name, mine in before.processes for one in mine)


def rules_of(config: Config) -> ChangedRules:
    """Return the rules of a configuration."""
    placed = ((loop.name, config.components_of(loop.name)) for loop in config.loops)
    processes = tuple((name, tuple(each.address for each in mine)) for name, mine in placed)
    return ChangedRules(config.policy, processes, config.grants)


def changed_by(config: Config, rules: ChangedRules) -> Config:
    """Return a configuration with these rules. Of a component it has only where it runs."""
    known = {component.address: component for component in config.components}
    placed = [(name, address) for name, addresses in rules.processes for address in addresses]
    components = tuple(_component(address, name, known.get(address)) for name, address in placed)
    loops = tuple(LoopConfig(name) for name, _ in rules.processes)
    return replace(config, policy=rules.policy, components=components, loops=loops)


def _component(address: str, process: str, known: ComponentConfig | None) -> ComponentConfig:
    loop, _, name = address.partition("/")
    part = process.partition(".")[2]
    return ComponentConfig(loop, name, known.class_path if known is not None else "", part=part)


def pack_rules(rules: ChangedRules) -> bytes:
    """Return the msgpack of [[source, target, [methods]] ...], [[process, [addresses]] ...] and [grant ...]."""
    policy = [[rule.source, rule.target, list(rule.methods)] for rule in rules.policy]
    processes = [[name, list(addresses)] for name, addresses in rules.processes]
    packed: bytes = msgpack.packb([policy, processes, list(rules.grants)])
    return packed


def unpack_rules(data: bytes) -> ChangedRules:
    """Return the rules in `data`. Raise ConfigError for anything that `pack_rules` does not write."""
    try:
        policy, processes, grants = msgpack.unpackb(data, raw=False)
        rules = ChangedRules(
            tuple(PolicyRule(source, target, tuple(methods)) for source, target, methods in policy),
            tuple((name, tuple(addresses)) for name, addresses in processes),
            tuple(grants),
        )
        texts = [text for rule in rules.policy for text in (rule.source, rule.target, *rule.methods)]
        texts += [text for name, addresses in rules.processes for text in (name, *addresses)]
        texts += rules.grants
        lists = [methods for _, _, methods in policy] + [addresses for _, addresses in processes] + [grants]
    except Exception as error:  # msgpack raises half a dozen classes, and unpacking two more
        raise ConfigError("the new policy does not read: reload again") from error
    if not all(type(text) is str for text in texts) or not all(type(each) is list for each in lists):
        raise ConfigError("the new policy does not read: reload again")
    return rules
