"""What /proc says about a process: its memory, its age, what it uses, and the rates between two readings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tlsrt.supervisor.process.unkillable import waits_in

_HERTZ = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
_FILE_BYTES = 16 * 1024
FRESH_S = 1.0


def memory_kib(host_pid: int) -> int | None:
    """Return the memory of a process in KiB, shared pages divided among their users (PSS, proc_pid_smaps(5)).

    Falls back to the resident set, also for one that waits in the kernel: what it may hold there, a reader of its
    mappings would wait for with it. None when the process has ended or may not be read.
    """
    try:
        if not waits_in(host_pid).startswith("D"):
            with open(f"/proc/{host_pid}/smaps_rollup", encoding="ascii") as file:
                for line in file:
                    if line.startswith("Pss:"):
                        return int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        with open(f"/proc/{host_pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)
    except (OSError, ValueError, IndexError):
        return None


class MemoryReadings:
    """The memory of processes, each read at most once in `FRESH_S`: for PSS the kernel walks all pages of a process.

    So a status costs little, however often it is asked for.
    """

    def __init__(self, read: Callable[[int], int | None] = memory_kib) -> None:
        self._read = read
        self._known: dict[int, tuple[float, int | None]] = {}

    def of(self, host_pid: int, now: float) -> int | None:
        """Return the memory of a process in KiB; `now` is on any one clock."""
        known = self._known.get(host_pid)
        if known is None or now - known[0] >= FRESH_S:
            self._known = {pid: one for pid, one in self._known.items() if now - one[0] < FRESH_S}
            self._known[host_pid] = known = (now, self._read(host_pid))
        return known[1]


def age_s(host_pid: int) -> float:
    """Return how long ago a process began, in seconds, to 10 ms (proc_pid_stat(5), starttime); 0 if unknown."""
    try:
        with open(f"/proc/{host_pid}/stat", encoding="ascii", errors="replace") as file:
            started_ticks = int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK"))


def parent_host_pid() -> int:
    """Return the pid of our parent as the host sees it (getppid(2) is 0 across a pid namespace); 0 if unknown."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


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


def parse_sample(stat: str, status: str, at: float, pid: int, frames: tuple[int, int]) -> Sample:
    """Return the sample in the text of /proc/PID/stat and /proc/PID/status; raise ValueError. proc_pid_stat(5)."""
    fields = stat.rpartition(")")[2].split()  # a name may hold anything, also spaces and parentheses
    if len(fields) < 18:
        raise ValueError("not /proc/PID/stat")
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    woken, preempted = (int(lines.get(name, "0")) for name in _SWITCHES)
    return Sample(at, pid, int(fields[11]) + int(fields[12]), int(fields[17]), woken, preempted, *frames)


class ProcessUsage(NamedTuple):
    """What a process has used and uses."""

    cpu_s: float
    threads: int
    resident_bytes: int


def parse_usage(stat: str) -> ProcessUsage:
    """Return what /proc/PID/stat says; raise ValueError. proc_pid_stat(5)."""
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 22:
        raise ValueError("not /proc/PID/stat")
    return ProcessUsage((int(fields[11]) + int(fields[12])) / _HERTZ, int(fields[17]), int(fields[21]) * _PAGE_BYTES)


def usage_of(pid: int) -> ProcessUsage | None:
    """Return what a process uses, from one read; None if it has ended."""
    try:
        return parse_usage(_read(f"/proc/{pid}/stat"))
    except (OSError, ValueError):
        return None


def sample_of(pid: int, at: float, frames: tuple[int, int] = (0, 0)) -> Sample | None:
    """Return what a process has used until now; None if it has ended."""
    try:
        return parse_sample(_read(f"/proc/{pid}/stat"), _read(f"/proc/{pid}/status"), at, pid, frames)
    except (OSError, ValueError):
        return None


def rates(before: Sample | None, now: Sample | None) -> dict[str, Any] | None:
    """Return what happened a second between two samples of the same process; None where there are no two."""
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
    """The samples of one status stream: each is compared with the one before."""

    def __init__(self) -> None:
        self._before: dict[str, Sample] = {}

    def add_to(self, document: Mapping[str, Any], at: float) -> None:
        """Put `usage` into every process of a status document: rates since the last call, None at first."""
        entries = {"supervisor": document["supervisor"], "authority": document["authority"]}
        entries |= {f"loop {loop['name']}": loop for loop in document["loops"]}
        now = {name: sample for name, entry in entries.items() if (sample := _sample_of_entry(entry, at)) is not None}
        for name, entry in entries.items():
            entry["usage"] = rates(self._before.get(name), now.get(name))
        self._before = now


def _sample_of_entry(entry: Mapping[str, Any], at: float) -> Sample | None:
    frames = entry.get("frames", {"in": 0, "out": 0})
    return sample_of(entry["pid"], at, (frames["in"], frames["out"])) if entry["pid"] else None


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _FILE_BYTES).decode("ascii", "replace")
    finally:
        os.close(descriptor)
