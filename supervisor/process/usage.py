"""What a process uses, as the kernel counts it, and the rates between two looks. Pure but for `look`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_HERTZ = os.sysconf("SC_CLK_TCK")
_SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
_FILE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters of one process at one moment, in seconds of any steady clock."""

    at: float
    pid: int
    cpu_ticks: int  # of all its threads, in user and kernel mode
    threads: int
    woken: int  # voluntary context switches of its first thread: it waited for something, and that came
    preempted: int
    frames_in: int = 0
    frames_out: int = 0


def parse(stat: str, status: str, at: float, pid: int, frames: tuple[int, int]) -> Sample:
    """Return the sample in the text of /proc/PID/stat and /proc/PID/status; raise ValueError. proc_pid_stat(5)."""
    fields = stat.rpartition(")")[2].split()  # a name may hold anything, also spaces and parentheses
    if len(fields) < 18:
        raise ValueError("not /proc/PID/stat")
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    woken, preempted = (int(lines.get(name, "0")) for name in _SWITCHES)
    return Sample(at, pid, int(fields[11]) + int(fields[12]), int(fields[17]), woken, preempted, *frames)


def look(pid: int, at: float, frames: tuple[int, int] = (0, 0)) -> Sample | None:
    """Return what a process has used until now; None if it is gone."""
    try:
        return parse(_read(f"/proc/{pid}/stat"), _read(f"/proc/{pid}/status"), at, pid, frames)
    except (OSError, ValueError):
        return None


def rates(before: Sample | None, now: Sample | None) -> dict[str, Any] | None:
    """Return what happened a second between two looks at the same process; None where there are no two."""
    if before is None or now is None or before.pid != now.pid or now.at <= before.at:
        return None
    elapsed_s = now.at - before.at

    def a_second(counted: int) -> float:
        return round(max(0, counted) / elapsed_s, 1)  # a loop's own counters are claims, and may go back

    return {
        "cpu_percent": round(max(0, now.cpu_ticks - before.cpu_ticks) / _HERTZ / elapsed_s * 100, 1),
        "threads": now.threads,
        "woken_s": a_second(now.woken - before.woken),
        "preempted_s": a_second(now.preempted - before.preempted),
        "frames_in_s": a_second(now.frames_in - before.frames_in),
        "frames_out_s": a_second(now.frames_out - before.frames_out),
    }


class Usage:
    """The looks of one follower: each is compared with the one before."""

    def __init__(self) -> None:
        self._before: dict[str, Sample] = {}

    def add_to(self, document: Mapping[str, Any], at: float) -> None:
        """Put `usage` into every process of a status document: rates since the last call, None at first."""
        entries = {"supervisor": document["supervisor"], "authority": document["authority"]}
        entries |= {f"loop {loop['name']}": loop for loop in document["loops"]}
        now = {name: sample for name, entry in entries.items() if (sample := _look_at(entry, at)) is not None}
        for name, entry in entries.items():
            entry["usage"] = rates(self._before.get(name), now.get(name))
        self._before = now


def _look_at(entry: Mapping[str, Any], at: float) -> Sample | None:
    frames = entry.get("frames", {"in": 0, "out": 0})
    return look(entry["pid"], at, (frames["in"], frames["out"])) if entry["pid"] else None


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _FILE_BYTES).decode("ascii", "replace")
    finally:
        os.close(descriptor)
