"""What a reload means for each process: decided by it before anything changes, and told by a dry run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgpack

from tlsrt.channels.control.life import LoopState
from tlsrt.config.program_files import measured_name
from tlsrt.errors import ConfigError
from tlsrt.supervisor.reload.plan import (
    ReloadStep,
    Way,
    changed_components,
    changed_files,
    files_sentence,
    fixed_files,
    step_for,
    users_of,
)
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.context import Reloadable, Renewal
from tlsrt.supervisor.supervision.loop import Loop


class ChangedCode(NamedTuple):
    """The processes whose code has changed, and a sentence about code that only a restart of the host takes, or ""."""

    processes: frozenset[str]
    fixed: str


def steps_between(
    current: Reloadable,
    renewal: Renewal,
    loops: Iterable[Loop],
    changed: Collection[str] = (),
    stopped: Collection[str] = (),
) -> tuple[ReloadStep, ...]:
    """Return what happens to each process; the code of some of them has `changed`. Raises ConfigError.

    Those that the operator has `stopped` stay down; a process that has anything new begins with it when it is started.
    """
    loops = tuple(loops)
    wanted = [loop.name for loop in renewal.config.loops]
    known = {loop.name for loop in current.config.loops}
    if left := [loop.name for loop in loops if loop.name in wanted and loop.name not in known]:
        raise ConfigError(f"{', '.join(left)} was removed and has not ended yet: reload again when it has")
    steps = [_step(current, renewal, AUTHORITY)]
    for loop in loops:
        removed = ReloadStep(loop.name, Way.REMOVED)
        steps.append(_step_of(current, renewal, loop, changed, stopped) if loop.name in wanted else removed)
    planned = {step.name for step in steps}
    return (*steps, *(ReloadStep(name, Way.ADDED) for name in wanted if name not in planned))


def changed_code(
    current: Reloadable, renewal: Renewal, before: Mapping[str, bytes], entries: Mapping[str, bytes]
) -> ChangedCode:  # fmt: skip
    """Compare the code that was measured `before`, by what is in force, with what is measured now."""
    files = changed_files(before, entries)
    users = users_of(files, renewal.code()) if files else {}
    old, new = ({(one.address, one.class_path) for one in each.components} for each in (current.config, renewal.config))
    names = fixed_files(files, entries, users, _files_of_programs(current, old & new), has_leaving=not old <= new)
    processes = frozenset(name for named in users.values() for name in named)
    return ChangedCode(processes, files_sentence(before, entries, names) if names else "")


def measured_again(current: Reloadable, renewal: Renewal, before: Mapping[str, bytes]) -> dict[str, bytes]:
    """Measure, and compare with what was measured `before`: in a child, for `found_in`. Raises ConfigError."""
    entries = renewal.measure()
    found = changed_code(current, renewal, before, entries)
    return {"measurement": msgpack.packb(entries), "changed": msgpack.packb([sorted(found.processes), found.fixed])}


def found_in(result: bytes) -> tuple[bytes, ChangedCode]:
    """Return a measurement, as msgpack, and what code has changed: what a child has found with `measured_again`."""
    parts: dict[str, bytes] = msgpack.unpackb(result)
    processes, fixed = msgpack.unpackb(parts["changed"])
    return parts["measurement"], ChangedCode(frozenset(processes), fixed)


def _files_of_programs(current: Reloadable, staying: Collection[tuple[str, str]]) -> set[str]:
    """Return the measured names of what programs of these components have had since the start, or the last reload."""
    children, loops = current.children, [loop.name for loop in current.config.loops]
    programs = [one for name in loops for one in (*children.programs_of(name), *children.proxies_of(name))]
    mine = [one for one in programs if (one.component.address, one.component.class_path) in staying]
    return {measured_name(path) for one in mine for path in one.files.identities}


def _step_of(
    current: Reloadable, renewal: Renewal, loop: Loop, has_changed: Collection[str], stopped: Collection[str]
) -> ReloadStep:
    """Return the step of a loop; one that was given up is tried again, whatever it was given up for."""
    changed = changed_components(current.config.components_of(loop.name), renewal.config.components_of(loop.name))
    changed += ["code"] if loop.name in has_changed else []
    if loop.name == current.config.door.runs_in and current.config.door.console != renewal.config.door.console:
        changed.append("door.console")  # what serves browsers is loaded before the seal
    step = _step(current, renewal, loop.name, changed)
    if step.way is not Way.RESTART and loop.state is LoopState.FAILED and loop.name not in stopped:
        return ReloadStep(loop.name, Way.RESTART, ("it was given up before",))
    return step


def _step(current: Reloadable, renewal: Renewal, name: str, changed: Sequence[str] = ()) -> ReloadStep:
    old, new = current.children, renewal.children
    same = old.sandbox(name).digest == new.sandbox(name).digest
    return step_for(name, old.profiles.get(name), new.profiles.get(name), same_digest=same, changed=changed)
