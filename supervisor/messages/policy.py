"""Encoding of a policy that is sent to a running authority at a reload. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgpack

from tlsrt.config.access import PolicyRule
from tlsrt.errors import ConfigError

POLICY_MAX = 16 << 20  # 4096 lines of 256 methods of 64 characters would be four times as much; no file holds that


def pack_policy(rules: Iterable[PolicyRule]) -> bytes:
    """Return the msgpack of [source, target, [methods]] of each rule."""
    packed: bytes = msgpack.packb([[rule.source, rule.target, list(rule.methods)] for rule in rules])
    return packed


def unpack_policy(data: bytes) -> tuple[PolicyRule, ...]:
    """Return the rules in `data`. Raise ConfigError for anything that `pack_policy` does not write."""
    try:
        rules = tuple(
            PolicyRule(source, target, tuple(methods)) for source, target, methods in msgpack.unpackb(data, raw=False)
        )
    except Exception as error:  # msgpack raises half a dozen classes, and unpacking two more
        raise ConfigError("the policy does not read: reload again") from error
    if not all(type(text) is str for rule in rules for text in (rule.source, rule.target, *rule.methods)):
        raise ConfigError("the policy does not read: reload again")
    return rules
