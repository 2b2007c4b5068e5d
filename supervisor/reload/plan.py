"""The plan of a reload: two configurations and sets of profiles in, one step per process out. Pure.

Loops, components, the policy and what makes up profiles may change while a host runs. A running process can be given
tighter limits from outside, prlimit(2), and whom a loop may reach over the network is decided by the supervisor
whenever it asks; everything else (components, paths, filters, namespaces, looser limits) is fixed for the life of a
process, so it needs a new one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tlsrt.config.components import ComponentConfig
from tlsrt.config.config_drop_ins import PREFIX as CONFIG_DROP_INS
from tlsrt.config.differences import summary
from tlsrt.config.drop_ins import PREFIX as DROP_INS
from tlsrt.config.variables import PREFIX as VARIABLES
from tlsrt.sandbox.profile.profile import Profile

PROFILE_FILES = "tlsrt/sandbox/profiles/"  # as a measurement names them
_LIVE = {"config", "client-ca", "certificate-names", "bytecode"}  # measured, and taken by a reload
_PACKAGES = ("component/", "dep/", "isolated/")  # packages of components, and what those and tlsrt need
_PROGRAMS = "program/"  # files of programs and workers, each by itself
_VERSION = "version/"  # how what says the version of files begins
_CONFIGURATION = (DROP_INS, CONFIG_DROP_INS, VARIABLES)
_FREE = (PROFILE_FILES, _VERSION, *_CONFIGURATION)


class Way(StrEnum):
    """What happens to one process."""

    UNCHANGED = "unchanged"
    LIVE = "tightened live"
    WIDER = "changed live"  # it may reach more than before; less needs a new process
    RESTART = "restarted"
    ADDED = "added"
    REMOVED = "removed"


STAYING = (Way.UNCHANGED, Way.LIVE, Way.WIDER, Way.RESTART)  # a process of that name is there afterwards as before


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


def step_for(
    name: str, old: Profile | None, new: Profile | None, *, same_digest: bool, changed: Sequence[str] = ()
) -> ReloadStep:
    """Return the step of one process; without profiles (in tests) only the digests count.

    `changed` says what of its components has changed: what a process hosts it hosts for its life.
    """
    if changed:
        return ReloadStep(name, Way.RESTART, tuple(changed))
    if same_digest:
        return ReloadStep(name, Way.UNCHANGED)
    if old is None or new is None:
        return ReloadStep(name, Way.RESTART, ("profile",))
    is_fixed = (
        dataclasses.replace(new, limits=old.limits, egress=old.egress, names=old.names, sockets=old.sockets).digest()
        != old.digest()
    )
    if is_fixed or not _only_tighter(old.limits, new.limits) or not _can_reach_more(old, new):
        return ReloadStep(name, Way.RESTART, _changed(old, new))
    limits = {kind: value for kind, value in new.limits.items() if old.limits.get(kind) != value}
    way = Way.LIVE if _reach(new) == _reach(old) else Way.WIDER
    return ReloadStep(name, way, _changed(old, new), limits)


def changed_components(old: Sequence[ComponentConfig], new: Sequence[ComponentConfig]) -> list[str]:
    """Return what differs between the components of one process but for needs that are in its profile."""
    before, after = (
        {one.address: dataclasses.replace(one, needs=one.needs.beside_profile) for one in components}
        for components in (old, new)
    )
    found = [f"{address} removed" for address in before if address not in after]
    found += [f"{address} added" for address in after if address not in before]
    found += [address for address, one in after.items() if before.get(address, one) != one]
    return found or (["order of components"] if [*before] != [*after] else [])


def _can_reach_more(old: Profile, new: Profile) -> bool:
    """Tell whether rules and sockets are the same, or more of them and the supervisor makes the connections.

    What is taken away ends only with the process: a connection that it has keeps working.
    """
    if _reach(new) == _reach(old):
        return True
    return (
        all(set(before) <= set(after) for before, after in zip(_reach(old), _reach(new), strict=True))
        and new.is_watched
    )


def _reach(profile: Profile) -> tuple[tuple[object, ...], ...]:
    return profile.egress, profile.names, profile.sockets


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


def changed_files(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    """Return the measured names of code that differ, as `component/PACKAGE/...` or `dep/PACKAGE/...` says it.

    What a component has in one measurement and another one needs in the other is the same code under both names.
    """
    before, after = _by_place(old), _by_place(new)
    places = before.keys() | after.keys()
    return sorted(name for place in places for name in _differing(before.get(place, {}), after.get(place, {})))


def configuration(entries: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what a measurement says of the files of the configuration."""
    return {name: digest for name, digest in entries.items() if name == "config" or name.startswith(_CONFIGURATION)}


def _by_place(entries: Mapping[str, bytes]) -> dict[str, dict[bytes, str]]:
    """Return place -> digest -> name of all code: two files may have one place, as a folder may hide another one."""
    found: dict[str, dict[bytes, str]] = {}
    for name, digest in entries.items():
        if name not in _LIVE and not name.startswith(_FREE):
            found.setdefault(_place(name), {})[digest] = name
    return found


def _differing(before: Mapping[bytes, str], after: Mapping[bytes, str]) -> set[str]:
    """Return the names of what is new at one place, or of what is gone if nothing is."""
    new = {after[digest] for digest in after.keys() - before.keys()}
    return new or {before[digest] for digest in before.keys() - after.keys()}


def _place(name: str) -> str:
    """Return the place of measured code: `*/notes/a.py` for `component/notes/a.py`, which no other name begins with."""
    return next((f"*/{name.removeprefix(prefix)}" for prefix in _PACKAGES if name.startswith(prefix)), name)


def users_of(files: Iterable[str], code: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Return which processes import what has changed, by file; `code` has for each the names of what it imports."""
    of_place: dict[str, set[str]] = {}
    for process, roots in code.items():
        for root in roots:
            of_place.setdefault(_unnumbered(_place(root)), set()).add(process)
    found: dict[str, list[str]] = {}
    for name in files:
        users = {process for place in _above(_unnumbered(_place(name))) for process in of_place.get(place, ())}
        found[name] = [process for process in code if process in users]
    return found


def _above(place: str) -> Iterator[str]:
    """Yield a place and the folders above it."""
    while place:
        yield place
        place = place.rpartition("/")[0]


def _unnumbered(place: str) -> str:
    """Return a place without the number of its folder, which depends on what else is measured: `*/notes@2/a.py`."""
    kind, _, rest = place.partition("/")
    first, slash, others = rest.partition("/")
    return f"{kind}/{first.partition('@')[0]}{slash}{others}"


def fixed_files(
    files: Iterable[str],
    new: Mapping[str, bytes],
    users: Mapping[str, Sequence[str]],
    kept: Collection[str] = (),
    *,
    has_leaving: bool,
) -> list[str]:
    """Return which of these names of changed code are in force after a restart of the host only.

    What components import is taken by their processes, which get new ones. Where none does, it must be code that goes
    with a component (`has_leaving`: some do): whole, as what is left of it would be another's, and none of the files
    that programs of components that stay have had until now (`kept`): one of those was deleted.
    """
    leaving = {name for name in files if has_leaving and name not in kept and _goes_along(name, new)}
    return [name for name in files if not users.get(name) and name not in leaving]


def _goes_along(name: str, new: Mapping[str, bytes]) -> bool:
    if name in new or not name.startswith((*_PACKAGES, _PROGRAMS)):
        return False
    if name.startswith(_PROGRAMS):  # a file that no program needs any more; others beside it are other programs'
        return True
    folder = "/".join(name.split("/")[:2])
    return not any(other == folder or other.startswith(f"{folder}/") for other in new)


def files_sentence(old: Mapping[str, bytes], new: Mapping[str, bytes], names: Sequence[str]) -> str:
    """Return the sentence for code that has changed since the start: these names of two measurements."""
    counted = frozenset(names)
    before, after = (
        {name: digest for name, digest in entries.items() if name in counted or name.startswith(_VERSION)}
        for entries in (old, new)
    )
    return f"changed since the start, and taken by a restart only: {', '.join(summary(before, after))}"


def only_adds(steps: Iterable[ReloadStep]) -> bool:
    """Tell whether no process that runs is ended or changed."""
    return all(step.way in (Way.UNCHANGED, Way.ADDED) for step in steps)


def needs_move(steps: Iterable[ReloadStep]) -> bool:
    """Tell whether the epoch must move: some profile has changed."""
    return any(step.way is not Way.UNCHANGED for step in steps)
