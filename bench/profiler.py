"""`make profile ROW=...`: where the time of a message goes, per stage and per library, in ours.

Three runs of the same burst: one undisturbed, whose rate and CPU clocks are the truth; one with py-spy, which samples
the Python stacks of each process from outside (it reads memory without stopping anybody, but needs CPU itself); one
with perf, if it is there, which tells kernel, crypto and interpreter apart. Microseconds are shares of samples times
the CPU that the undisturbed burst used per message; the rates of all three runs are told, so that everybody sees what
the looking costs. Waiting is not in it: one outstanding message mostly waits for wake-ups.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import calls, door, gates, tls, tls_peers
from bench.processes import cpu_ns
from bench.programs import script
from bench.row import Case, PeerMissing, Sample, Subject
from bench.rows import ROWS
from bench.stages import libraries, stages

SECONDS = 3.0
SAMPLES_PER_S = 400
PERF_HZ = 997
LEAST = 0.01  # stages below this part of a process are left out


class Profiled:
    """A subject with the processes that matter, by name."""

    def __init__(self, subject: Subject, pids: Mapping[str, int]) -> None:
        self.subject = subject
        self.pids = dict(pids)


def _call(folder: Path, stack: ExitStack) -> Profiled:
    subject = stack.enter_context(calls.open_tlsrt(folder))
    return Profiled(subject, dict(zip(calls.ON_THE_PATH, subject.path_pids(), strict=True)))


def _door(folder: Path, stack: ExitStack) -> Profiled:
    subject = stack.enter_context(door.open_tlsrt(folder))
    return Profiled(subject, {name: subject.pids[name] for name in ("primary", "secondary")})


def _gate(folder: Path, stack: ExitStack) -> Profiled:
    return Profiled(stack.enter_context(gates.open_gate(folder)), {"gate": os.getpid()})


def _tls(folder: Path, stack: ExitStack) -> Profiled:
    subject = stack.enter_context(tls.opened(tls_peers.python_server("engine"), "frame", "tlsrt/1")(folder))
    return Profiled(subject, {"server": next(iter(subject.pids))})


OPEN: dict[str, Callable[[Path, ExitStack], Profiled]] = {
    "call": _call, "door": _door, "gate": _gate, "tls-request": _tls, "tls-handshake": _tls,
}  # fmt: skip


def _burst(profiled: Profiled, case: Case) -> tuple[Sample, dict[str, float]]:
    """Return a sample, and the CPU ns of each process."""
    before = {name: cpu_ns([pid]) for name, pid in profiled.pids.items()}
    sample = profiled.subject.burst(case, SECONDS)
    return sample, {name: cpu_ns([pid]) - before[name] for name, pid in profiled.pids.items()}


def _messages(sample: Sample) -> float:
    """How many messages a sample has had a second; the row gate tells ns per frame instead."""
    return sample["rate"] if "rate" in sample else 1e9 / sample["ns"]


def _python_stages(profiled: Profiled, case: Case, folder: Path) -> tuple[Sample, dict[str, Counter[str]]]:
    spy = str(script("py-spy"))
    outputs = {name: folder / f"{name}.stacks" for name in profiled.pids}
    watchers = [
        subprocess.Popen(
            [spy, "record", "--nonblocking", "--pid", str(pid), "--rate", str(SAMPLES_PER_S), "--duration", "3600",
             "--format", "raw", "--output", str(outputs[name])],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        for name, pid in profiled.pids.items()
    ]  # fmt: skip
    try:
        profiled.subject.burst(case, 1.0)  # py-spy takes a moment to begin; what it sees of this is the same work
        sample, _ = _burst(profiled, case)
    finally:
        for watcher in watchers:
            watcher.send_signal(signal.SIGINT)
        for watcher in watchers:
            watcher.wait(30)
    return sample, {
        name: stages(path.read_text().splitlines()) if path.exists() else Counter() for name, path in outputs.items()
    }


def _libraries(profiled: Profiled, case: Case, folder: Path) -> tuple[Sample, dict[int, dict[str, float]]] | None:
    perf = shutil.which("perf")
    if perf is None:
        return None
    data = str(folder / "perf.data")
    pids = ",".join(str(pid) for pid in profiled.pids.values())
    argv = [perf, "record", "-q", "-e", "cpu-clock", "-F", str(PERF_HZ), "-p", pids, "-o", data]
    watcher = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        time.sleep(0.3)
        sample, _ = _burst(profiled, case)
    finally:
        watcher.send_signal(signal.SIGINT)
        watcher.wait(30)
    done = subprocess.run(
        [perf, "report", "-i", data, "--stdio", "--sort", "pid,dso"], capture_output=True, text=True, timeout=60
    )
    return (sample, libraries(done.stdout.splitlines())) if done.returncode == 0 else None


def _shares(title: str, each_us: float, counts: Mapping[str, float]) -> list[str]:
    """Return a block of lines: the shares of one process, in microseconds of each message."""
    total = sum(counts.values())
    lines = [f"  {title}: {each_us:.1f} us of CPU each"]
    if not total:
        return [*lines, "    no samples"]
    for name, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        part = count / total
        if part >= LEAST:
            lines.append(f"    {part * each_us:7.1f} us  {part:4.0%}  {name}")
    return lines


def profile(row: str, case: Case, folder: Path) -> list[str]:
    """Return what one case of a row costs, as lines."""
    with ExitStack() as stack:
        profiled = OPEN[row](folder, stack)
        profiled.subject.burst(case, 0.5)
        alone, used = _burst(profiled, case)
        messages = _messages(alone) * SECONDS
        lines = [f"{row}, {case.name}: {_messages(alone):,.0f} a second undisturbed"]
        try:
            watched, found = _python_stages(profiled, case, folder)
        except PeerMissing as missing:
            lines.append(f"  no stages: {missing}")
        else:
            lines.append(f"  stages (py-spy, {SAMPLES_PER_S} samples/s; {_messages(watched):,.0f} a second meanwhile)")
            for name, counts in found.items():
                lines += _shares(name, used[name] / 1000 / messages, counts)
        seen = _libraries(profiled, case, folder)
        if seen is None:
            lines.append("  no shares of kernel and libraries: perf is not here or may not look (Debian: linux-perf)")
        else:
            watched, by_pid = seen
            lines.append(f"  libraries (perf, cpu-clock; {_messages(watched):,.0f} a second meanwhile)")
            for name, pid in profiled.pids.items():
                lines += _shares(name, used[name] / 1000 / messages, by_pid.get(pid, {}))
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Profile ours in one row, every case or those that are named; return 0."""
    parser = argparse.ArgumentParser(prog="bench/run_profile.py", description="Where the time of a message goes.")
    parser.add_argument("--row", default="call", choices=sorted(OPEN))
    parser.add_argument("--case", action="append", default=[], help="only this case (may be repeated)")
    arguments = parser.parse_args(argv)
    row = next(row for row in ROWS if row.name == arguments.row)
    wanted = arguments.case or [case.name for case in row.cases]
    unknown = set(wanted) - {case.name for case in row.cases}
    if unknown:
        parser.error(f"no case {', '.join(unknown)} in {row.name}: {', '.join(case.name for case in row.cases)}")
    for case in row.cases:
        if case.name in wanted:
            folder = Path(tempfile.mkdtemp(prefix="tlsrt-bench-"))
            folder.chmod(0o755)
            try:
                print("\n".join(profile(row.name, case, folder)), end="\n\n", flush=True)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return 0
