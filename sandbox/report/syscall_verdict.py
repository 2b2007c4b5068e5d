"""Verdict on a system call of a confined process, by running the assembled filters. Pure.

A process has one filter until the seal and two afterwards; of two answers the kernel takes the stricter one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

from tlsrt.sandbox.profile.fragment import SEAL, SELF, PolicyEntry
from tlsrt.sandbox.profile.policy import FilterStage
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.seccomp.bpf import ALLOW, ARCHITECTURES, DONE, KILL_PROCESS, LOW_32, Check
from tlsrt.sandbox.seccomp.bpf_interpreter import run_all
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

_ERRNO, _NOTIFY, _DATA = 0x00050000, 0x7FC00000, 0xFFFF
_PID = 1  # of a process in its own pid namespace
ARGUMENTS = 6
_FILLS = (0, LOW_32, 0x5A5A5A5A, 0xA5A5A5A5)


@dataclass(frozen=True, slots=True)
class SyscallVerdict:
    """The answer to one call.

    `how` is "allowed", "killed", "as if done" (and nothing happens), the name of an errno, or "asked" (the supervisor
    decides).

    `kind` and `entry` are the list and the entry that speak of it; None when no line does.
    """

    how: str
    kind: str = ""
    entry: PolicyEntry | None = None

    @property
    def is_allowed(self) -> bool:
        return self.how in ("allowed", "asked")


def action_of(profile: Profile, stage: FilterStage, call: str, arguments: Sequence[int]) -> int:
    """Return the action, SECCOMP_RET_*, for a call in a stage. A layer that is waived answers nothing.

    Raises SandboxError for a machine without filters.
    """
    machine = os.uname().machine
    layers = {FilterStage.IMPORTING: "seccomp"} | (
        {} if stage is FilterStage.IMPORTING else {FilterStage.SEALED: "seccomp_sealed"}
    )
    watched = profile.is_watched
    programs = [
        profile.policy.program(one, watched=watched, pid=_PID)
        for one, layer in layers.items()
        if profile.expects(layer)
    ]
    return run_all(programs[::-1], ARCHITECTURES[machine], NUMBERS[machine][call], arguments)


def verdict_of(profile: Profile, stage: FilterStage, call: str, arguments: Sequence[int]) -> SyscallVerdict:
    """Return the answer to a call with these arguments (those that are missing are 0)."""
    values = (*arguments, *(0,) * ARGUMENTS)[:ARGUMENTS]
    action = action_of(profile, stage, call, values)
    for kind, entry in profile.policy.about(call, stage):
        if all(_holds(check, values) for check in entry.checks):
            return SyscallVerdict(_word(action, kind), kind, entry)
    return SyscallVerdict(_word(action, ""))


def verdicts_of(profile: Profile, stage: FilterStage, call: str) -> list[SyscallVerdict]:
    """Return the answers to a call with unknown arguments. One for every entry that allows it, then the rest."""
    entries = [entry for _, entry in profile.policy.about(call, stage) if entry in profile.policy.allowed(stage)]
    found = [_verdict_by(profile, stage, call, entry) for entry in entries]
    if any(not entry.checks for entry in entries):
        return found
    return [*found, verdict_of(profile, stage, call, _outside(entries))]


def _verdict_by(profile: Profile, stage: FilterStage, call: str, entry: PolicyEntry) -> SyscallVerdict:
    """Return the answer to arguments that this entry speaks of, if possible as the first one."""
    tried = [verdict_of(profile, stage, call, _example(entry.checks, fill)) for fill in _FILLS]
    return next((verdict for verdict in tried if verdict.entry is entry), tried[0])


def _word(action: int, kind: str) -> str:
    """Return what an action means. Where a filter notifies, the list that names the call decides."""
    if action == ALLOW:
        return "allowed"
    if action == KILL_PROCESS or (action == _NOTIFY and kind == "kill"):
        return "killed"
    if action == DONE:
        return "as if done"
    if action & ~_DATA == _ERRNO:
        return errno.errorcode.get(action & _DATA, str(action & _DATA))
    return "asked" if kind == "broker" else errno.errorcode[errno.EPERM]


def _holds(check: Check, arguments: Sequence[int]) -> bool:
    value = arguments[check.argument]
    values = _known(check)
    return value in values if check.wide else value & LOW_32 & check.mask in values


def _known(check: Check) -> tuple[int, ...]:
    """Return the values of a check, with our own pid, and 0 for an unknown address of the last filter."""
    return tuple({SELF: _PID, SEAL: 0}.get(value, value) for value in check.values)


def _example(checks: Sequence[Check], fill: int) -> tuple[int, ...]:
    """Return arguments that pass all checks; bits that no check looks at are those of `fill`."""
    arguments = [fill] * ARGUMENTS
    for check in checks:
        value = _known(check)[0]
        arguments[check.argument] = value if check.wide else arguments[check.argument] & ~check.mask | value
    return tuple(arguments)


def _outside(entries: Sequence[PolicyEntry]) -> tuple[int, ...]:
    """Return arguments that none of these entries speaks of."""
    for fill in _FILLS:
        values = (fill,) * ARGUMENTS
        if not any(all(_holds(check, values) for check in entry.checks) for entry in entries):
            return values
    return (LOW_32,) * ARGUMENTS
