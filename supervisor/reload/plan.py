"""The plan of a reload: two configurations and sets of profiles in, one step per process out. Pure.

Only the policy and what makes up profiles may change while a host runs. A running process can be given tighter limits
from outside, prlimit(2), and whom a loop may reach over the network is decided by the supervisor whenever it asks;
everything else (paths, filters, namespaces, looser limits) is fixed for the life of a process, so it needs a new one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tlsrt.config.differences import summary
from tlsrt.sandbox.profile.profile import Profile

PROFILE_FILES = "tlsrt/sandbox/profiles/"  # as a measurement names them
_LIVE = {"config", "client-ca", "certificate-names", "bytecode"}  # measured, and taken by a reload
_VERSION = "version/"  # how what says the version of files begins


class Way(StrEnum):
    """What happens to one process."""

    UNCHANGED = "unchanged"
    LIVE = "tightened live"
    WIDER = "changed live"  # it may reach more over the network than before; less needs a new process
    RESTART = "restarted"


@dataclass(frozen=True, slots=True)
class ReloadStep:
    """One process: what happens to it, what of its profile has changed, and its new limits."""

    name: str
    way: Way
    changed: tuple[str, ...] = ()
    limits: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])

    @property
    def is_live(self) -> bool:
        """Tell whether the process that is there can be given its new profile."""
        return self.way in (Way.LIVE, Way.WIDER)


def step_for(name: str, old: Profile | None, new: Profile | None, *, same_digest: bool) -> ReloadStep:
    """Return the step of one process; without profiles (in tests) only the digests count."""
    if same_digest:
        return ReloadStep(name, Way.UNCHANGED)
    if old is None or new is None:
        return ReloadStep(name, Way.RESTART, ("profile",))
    is_fixed = dataclasses.replace(new, limits=old.limits, egress=old.egress).digest() != old.digest()
    if is_fixed or not _only_tighter(old.limits, new.limits) or not _can_reach_more(old, new):
        return ReloadStep(name, Way.RESTART, _changed(old, new))
    limits = {kind: value for kind, value in new.limits.items() if old.limits.get(kind) != value}
    way = Way.LIVE if new.egress == old.egress else Way.WIDER
    return ReloadStep(name, way, _changed(old, new), limits)


def _can_reach_more(old: Profile, new: Profile) -> bool:
    """Tell whether the egress rules are the same, or more of them and the supervisor makes the connections.

    What is taken away ends only with the process: a connection that it has keeps working.
    """
    return new.egress == old.egress or (set(old.egress) <= set(new.egress) and new.is_watched)


def _changed(old: Profile, new: Profile) -> tuple[str, ...]:
    """Return what differs, in words of the profile; the policy of system calls counts by its filters."""
    names = [field.name for field in dataclasses.fields(Profile) if field.name != "policy"]
    changed = [name for name in names if getattr(old, name) != getattr(new, name)]
    if dataclasses.replace(new, policy=old.policy).digest() != new.digest():
        changed.append("system calls")
    return tuple(changed)


def _only_tighter(old: Mapping[str, int], new: Mapping[str, int]) -> bool:
    """Tell whether no limit is higher, or gone; the sum of all connections moves limits that were not asked for."""
    return old.keys() <= new.keys() and all(value <= old.get(kind, value) for kind, value in new.items())


def fixed_files(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    """Return the measured names that differ and are in force after a restart only."""
    names = (name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return sorted(name for name in names if name not in _LIVE and not name.startswith((PROFILE_FILES, _VERSION)))


def files_sentence(old: Mapping[str, bytes], new: Mapping[str, bytes], names: Sequence[str]) -> str:
    """Return the sentence for code that has changed since the start: these names of two measurements."""
    counted = frozenset(names)
    before, after = (
        {name: digest for name, digest in entries.items() if name in counted or name.startswith(_VERSION)}
        for entries in (old, new)
    )
    return f"changed since the start, and taken by a restart only: {', '.join(summary(before, after))}"


def needs_move(steps: Iterable[ReloadStep]) -> bool:
    """Tell whether the epoch must move: some profile has changed."""
    return any(step.way is not Way.UNCHANGED for step in steps)
