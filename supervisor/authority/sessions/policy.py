"""Policy: which methods of which components a subject may call. Pure. Default deny.

A pattern is `owner/name` where `*` stands for a whole owner or a whole name: `client/*`, `third/*`, `*/*`. What several
lines allow adds up. A subject with any right to a target may also call its `describe`, to learn how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from tlsrt.config.access import PolicyRule

ANY = "*"
DESCRIBE = "describe"

Rights = Mapping[str, tuple[str, ...]]  # target: methods
Policy = tuple[PolicyRule, ...]


class RightsTable(Protocol):
    """Who may call what, by one policy."""

    def get(self, subject: str, default: Rights, /) -> Rights:
        """Return the rights of a subject."""
        ...


class Rulebook:
    """What one policy gives to whom. `own` returns the lines that a client was enrolled with, and may change."""

    def __init__(
        self, policy: Policy, components: Sequence[str], subjects: Iterable[str], own: Callable[[str], Policy]
    ) -> None:
        self._policy = policy
        self._components = components
        self._own = own
        self._fixed = {subject: rights_of(subject, policy, components) for subject in subjects}
        self._enrolled: dict[str, tuple[Policy, Rights]] = {}

    def get(self, subject: str, default: Rights, /) -> Rights:
        """Return the rights of a subject, `default` for one that is unknown."""
        if subject in self._fixed:
            return self._fixed[subject]
        own = self._own(subject)
        if not own:
            self._enrolled.pop(subject, None)
            return default
        known = self._enrolled.get(subject)
        if known is None or known[0] != own:
            known = self._enrolled[subject] = (own, rights_of(subject, (*self._policy, *own), self._components))
        return known[1]


def matches(pattern: str, address: str) -> bool:
    """Tell whether `pattern` names `address`; both are `owner/name`."""
    pattern_owner, _, pattern_name = pattern.partition("/")
    owner, _, name = address.partition("/")
    return pattern_owner in (ANY, owner) and pattern_name in (ANY, name)


def rights_of(subject: str, policy: Iterable[PolicyRule], components: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return target -> methods for one subject; `("*",)` is all of them.

    No subject gets a key to itself by a wildcard: only a line that names the same address on both sides gives that.
    `describe` is allowed on every target that the subject holds any right to.
    """
    found: dict[str, set[str]] = {}
    for rule in policy:
        if not rule.methods or not matches(rule.source, subject):
            continue
        for target in components:
            itself = target == subject and not rule.source == rule.target == subject
            if not itself and matches(rule.target, target):
                found.setdefault(target, {DESCRIBE}).update(rule.methods)
    return {target: (ANY,) if ANY in methods else tuple(sorted(methods)) for target, methods in sorted(found.items())}
