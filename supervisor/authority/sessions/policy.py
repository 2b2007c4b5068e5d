"""Policy: which methods of which components each subject may call, also one that was enrolled. Default deny."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from tlsrt.config.access import PolicyRule, Rights, rights_of

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
