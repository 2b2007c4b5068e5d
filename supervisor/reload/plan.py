"""What a reload has to do: two configurations and two sets of profiles in, one step per process out. Pure.

Only the policy and what makes up profiles may change while a host runs. A running process can be given tighter limits
from outside, prlimit(2), and whom a loop may reach over the network is decided by the supervisor whenever it asks;
everything else (paths, filters, namespaces, looser limits) is fixed for the life of a process, so it needs a new one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tlsrt.config.schema import Config, NeedsConfig
from tlsrt.config.setting import keys_of
from tlsrt.sandbox.profile.profile import Profile

PROFILE_FILES = "tlsrt/sandbox/profiles/"  # as a measurement names them
NAMED_MAX = 10  # changed files in one sentence
_BY_NAME = {"components", "clients"}  # each of them is compared on its own
_LIVE = {"config", "client-ca", "certificate-names"}  # measured, and taken by a reload


class Way(StrEnum):
    """What happens to one process."""

    UNCHANGED = "unchanged"
    LIVE = "tightened live"
    WIDER = "changed live"  # it may reach more over the network than before; less needs a new process
    RESTART = "restarted"


@dataclass(frozen=True, slots=True)
class ReloadStep:
    """One process: what happens to it, what of its profile has changed, and the limits that it gets from outside."""

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
    """Tell whether no limit is higher, or gone; the sum of all connections moves limits that nobody asked for."""
    return old.keys() <= new.keys() and all(value <= old.get(kind, value) for kind, value in new.items())


def fixed_keys(old: Config, new: Config) -> list[str]:
    """Return the keys of the configuration that differ and cannot change while tlsrt runs."""
    before, after = _fixed(old), _fixed(new)
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def refusal(keys: Sequence[str]) -> str:
    """Return the sentence for keys that cannot change."""
    more = f" and {len(keys) - NAMED_MAX} more" if len(keys) > NAMED_MAX else ""
    return (
        f"{', '.join(keys[:NAMED_MAX])}{more} cannot change while tlsrt runs, so nothing was changed: stop tlsrt and "
        "start it again (a reload takes loops.*, needs of components, policy, sandbox.waive and the door's files)"
    )


def _fixed(config: Config) -> dict[str, Any]:
    """Return what a reload does not take, by the names of the file."""
    found = dict(_fixed_keys(config))
    # The launcher has made the pid namespace by then, and the groups are those of the whole life.
    found |= {f"sandbox.waive.{layer}": layer in config.sandbox.waive for layer in ("pid_namespace", "cgroup")}
    found["loops"] = tuple(loop.name for loop in config.loops)
    for component in config.components:
        found[f"components.{component.address}"] = dataclasses.replace(component, needs=NeedsConfig())
    found |= {f"clients.{client.name}": client for client in config.clients}
    return found


def _fixed_keys(table: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, key in keys_of(type(table)).items():
        full, value = f"{prefix}{name}", getattr(table, key.field)
        if key.setting.kind == "table" and value is not None:
            yield from _fixed_keys(value, f"{full}.")
        elif not key.setting.on_reload and full not in _BY_NAME:
            yield full, value


def fixed_files(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    """Return the measured names that differ and are in force after a restart only."""
    names = (name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return sorted(name for name in names if name not in _LIVE and not name.startswith(PROFILE_FILES))


def files_sentence(names: Sequence[str]) -> str:
    """Return the sentence for code that has changed since the start."""
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"changed since the start, and taken by a restart only: {', '.join(names[:NAMED_MAX])}{more}"


def needs_move(steps: Iterable[ReloadStep]) -> bool:
    """Tell whether the epoch must move: some profile has changed."""
    return any(step.way is not Way.UNCHANGED for step in steps)
