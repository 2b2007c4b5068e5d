"""What `status` says about a program."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tlsrt.sandbox.profile.program_profile import PlacedProgram
from tlsrt.supervisor.process.proc import memory_kib
from tlsrt.supervisor.supervision.program_run import ProgramRecord, ProgramRun


def status_of(placed: PlacedProgram, record: ProgramRecord, runs: Iterable[ProgramRun], now: float) -> dict[str, Any]:
    """Return the entry of a program, of all runs that there are; `now` is on their clock."""
    running = [
        {
            "name": run.name,
            "pid": run.child.host_pid,
            "uptime_s": round(now - run.begun_at, 3),
            "memory_kib": memory_kib(run.child.host_pid),
        }
        for run in runs
        if run.child is not None and run.placed.label == placed.label
    ]
    return {
        "name": placed.label,
        "running": running,
        "at_once": placed.program.runs_most,
        "begun": record.begun,
        "ends": dict(record.ends),
        "last": record.last,
        "is_down": record.is_down and not running,
    }
