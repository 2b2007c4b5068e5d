"""What a component costs: the figures of the platform beside their goals, on one host, in under three minutes.

Unlike the rows of `make bench` these have no peer: a goal is a bound of ours. No figure is asserted; a goal that is
missed is named at the end, and what could not be measured as well.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from bench.command import RESULTS
from bench.host import SUPERVISOR, Host, is_active
from bench.kettle_wheel import ADDRESS, kettle_wheel
from bench.machine import facts, load
from bench.processes import cpu_ns, memory_kib
from tlsrt import Client, TlsrtError, text

LIMIT_S = 170  # for all of it; what is measured by then is shown
STEPS = (1, 10, 50)  # components with processes of their own
WARM_S = 1.0  # after a birth, until a process is at rest
RESTS_S = 5.0
BIRTHS, RUNS, ROUNDS = 7, 30, 3
THROUGH_MIB = 512
BURST_S = 1.5
LONGEST_S = 60.0  # for a reload with many births, or an addition
_TOOK = re.compile(r" (\d+) ms\b")


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound: at least so much where more is better, else at most."""

    bound: float
    more: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.more else value <= self.bound


@dataclass(frozen=True, slots=True)
class PlatformFigure:
    """One figure: all samples, of which the median counts."""

    title: str
    unit: str
    samples: Sequence[float]
    goal: Goal | None = None

    @property
    def value(self) -> float:
        return statistics.median(self.samples)

    @property
    def is_missed(self) -> bool:
        return self.goal is not None and not self.goal.is_met(self.value)

    def row(self) -> list[str]:
        """Return the cells of its line."""
        spread = f"{min(self.samples):,.1f} to {max(self.samples):,.1f}" if len(self.samples) > 1 else ""
        goal = f"{'>=' if self.goal.more else '<='} {self.goal.bound:g}" if self.goal is not None else ""
        word = "" if self.goal is None else "MISSED" if self.is_missed else "met"
        return [self.title, f"{self.value:,.2f}", self.unit, spread, goal, word]


@dataclass(slots=True)
class Bench:
    """One host, and what was found on it."""

    folder: Path
    host: Host
    figures: list[PlatformFigure] = field(default_factory=list[PlatformFigure])
    missing: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    def add(self, title: str, unit: str, samples: Sequence[float], goal: Goal | None = None) -> None:
        self.figures.append(PlatformFigure(title, unit, [round(one, 3) for one in samples], goal))
        print("  ".join(cell for cell in self.figures[-1].row() if cell), flush=True)

    def client(self) -> Client:
        return Client(self.host.bundle)


def own(number: int) -> str:
    """Return the name of a component."""
    return f"own{number:02}"


def components(count: int) -> dict[str, Any]:
    """Return the components of a host with so many of them in processes of their own, besides those of the bench."""
    return {f"third/{own(number)}": {"class": "tlsrt_bench.own:Own"} for number in range(1, count + 1)}


def configuration() -> dict[str, dict[str, Any]]:
    """Return what is added to a fresh configuration, besides what each host of the bench has."""
    program = {"why": "the bench measures its birth"}
    return {
        "components": {
            "forth/packer": {
                "class": "tlsrt_bench.packer:Packer",
                "programs": {"true": {"run": "/bin/true", **program}, "cat": {"run": "/bin/cat", **program}},
            },
            "third/burner": {"class": "tlsrt_bench.burning:Burner", "needs": {"threads": 4}},
            **components(STEPS[0]),
        },
        "policy": {f"client/admin -> {address}": "*" for address in ("forth/packer", "third/burner", "third/own01")},
    }


# -- steps ---------------------------------------------------------------------------------------------------------


def one(bench: Bench) -> None:
    """Memory of one component's process."""
    memory(bench, STEPS[0])


def memory(bench: Bench, count: int) -> None:
    """Measure the memory of each component's process, with so many of them."""
    time.sleep(WARM_S)
    pids = bench.host.pids()
    pairs = [memory_kib(pids[f"third.{own(number)}"]) for number in range(1, count + 1)]
    goal = Goal(6.0)
    bench.add(f"PSS of an own process, {count} of them", "MiB", [pss / 1024 for pss, _ in pairs], goal)
    bench.add(f"memory of its own, {count} of them", "MiB", [uss / 1024 for _, uss in pairs])


def rest(bench: Bench) -> None:
    """Processor of a component that is not asked."""
    pid = bench.host.pids()[f"third.{own(1)}"]
    before = cpu_ns([pid])
    begin = time.perf_counter()
    time.sleep(RESTS_S)
    used_ms = (cpu_ns([pid]) - before) / 1e6
    bench.add("processor of it at rest", "ms/s", [used_ms / (time.perf_counter() - begin)], Goal(1.0))


def births(bench: Bench) -> None:
    """Births of a component, as the console says it, and its deaths until a client is answered again."""
    name, host = f"third.{own(1)}", bench.host
    taken: list[float] = []
    for _ in range(BIRTHS):
        host.forget()
        host.do("restart", name, "--config", str(host.config))
        taken.append(float(_TOOK.findall(host.line(name, "active"))[0]))
    bench.add("birth to serving", "ms", taken, Goal(60.0))
    with bench.client() as client:
        client.call("third/own01", "ping")
        pid = host.pids()[name]
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        answered = until_answered(client, "third/own01", "ping")
        bench.add("killed to answering a client", "ms", [(answered - begin) * 1000])


def programs(bench: Bench) -> None:
    """Births of programs and what goes through one."""
    plain: list[float] = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        os.waitpid(os.posix_spawn("/bin/true", ["/bin/true"], {}), 0)
        plain.append((time.perf_counter() - begin) * 1000)
    with bench.client() as client:
        taken = client.call("forth/packer", "births", "true", RUNS, timeout_s=30)
        floor = statistics.median(plain)
        bench.add("a plain fork and exec of /bin/true", "ms", plain)
        bench.add("run of /bin/true by a component, above that", "ms", [one - floor for one in taken], Goal(25.0))
        rates = [client.call("forth/packer", "throughput", "cat", THROUGH_MIB, timeout_s=30) for _ in range(ROUNDS)]
        bench.add("through cat and back", "MB/s", rates, Goal(500.0, more=True))


def neighbour(bench: Bench) -> None:
    """Calls between two other components, idle and beside four threads that compute."""
    with bench.client() as client, bench.client() as second:
        for kind in client.call("third/burner", "kinds"):
            idle, beside, ratios = [], [], []
            burnt: list[int] = []

            def burn(kind: str = kind, burnt: list[int] = burnt) -> None:
                burnt.append(second.call("third/burner", "burn", kind, BURST_S + 1, timeout_s=30))

            for _ in range(ROUNDS):
                idle.append(p50_us(client))
                burning = threading.Thread(target=burn)
                burning.start()
                time.sleep(0.5)
                beside.append(p50_us(client))
                burning.join()
                ratios.append(beside[-1] / idle[-1])
            if len(burnt) < ROUNDS:
                raise RuntimeError(f"only {len(burnt)} of {ROUNDS} rounds of {kind} were burnt")
            bench.add(f"a neighbour's p50, idle ({kind})", "us", idle)
            bench.add(f"the same beside four threads of {kind}", "us", beside)
            bench.add(f"beside four threads of {kind} / idle", "x", ratios, Goal(2.0))
        if kind != "blas":
            bench.notes.append("not beside BLAS, as numpy is not in this environment")


def p50_us(client: Client) -> float:
    """Return the median of calls of 64 B between two components, measured in the one that calls."""
    found = client.call("third/driver", "run", "secondary/echo", 64, 1, BURST_S, timeout_s=30)
    return float(found["p50_us"])


def addition(bench: Bench) -> None:
    """`component add --isolated` of a wheel: from the command, and from the yes, until a client is answered."""
    wheel = kettle_wheel(bench.folder)
    bench.host.forget()
    argv = [str(SUPERVISOR), "component", "add", "--isolated", str(wheel), "--allow", "client/admin: [hello]"]
    master, terminal = os.openpty()
    begin = time.perf_counter()
    adding = subprocess.Popen(
        [*argv, "--config", str(bench.host.config)], stdin=terminal, stdout=terminal, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        os.close(terminal)
        said = read_until(master, b"[y/N]")
        yes = time.perf_counter()
        os.write(master, b"y\n")
        with bench.client() as client:
            bench.host.line(ADDRESS.replace("/", "."), "active")
            answered = until_answered(client, ADDRESS, "hello")
        said += read_until(master, b"")
        if adding.wait(LONGEST_S):
            raise RuntimeError(said.decode(errors="replace"))
    finally:
        adding.kill()
        adding.wait()
        os.close(master)
    bench.add("`component add`, yes to answering", "ms", [(answered - yes) * 1000], Goal(1000.0))
    bench.add("the same from the command, which shows the table", "ms", [(answered - begin) * 1000])


def more(bench: Bench) -> None:
    """The host with 10 and with 50 components, added while it runs, and their memory."""
    host = bench.host
    for before, count in pairwise(STEPS):
        document = yaml.safe_load(host.config.read_text())
        document["components"] |= components(count)
        host.config.write_text(yaml.safe_dump(document, sort_keys=False))
        host.do("seal", "--config", str(host.config))
        host.forget()
        begin = time.perf_counter()
        host.do("reload", "--config", str(host.config))
        names = [f"third.{own(number)}" for number in range(before + 1, count + 1)]
        host.wait_for(lambda lines, names=names: all(is_active(name, lines) for name in names), LONGEST_S)  # type: ignore[misc]
        each_ms = (time.perf_counter() - begin) * 1000 / (count - before)
        bench.add(f"a reload that adds {count - before}, for each", "ms", [each_ms])
        memory(bench, count)


STEPS_IN_ORDER: tuple[Callable[[Bench], None], ...] = (
    one, rest, births, programs, neighbour, addition, more,
)  # fmt: skip


# -- helpers -------------------------------------------------------------------------------------------------------


def until_answered(client: Client, target: str, method: str) -> float:
    """Call until it is answered, and return when that was."""
    limit = time.perf_counter() + LONGEST_S
    while True:
        try:
            client.call(target, method, timeout_s=2.0)
            return time.perf_counter()
        except TlsrtError:
            if time.perf_counter() > limit:
                raise
            time.sleep(0.005)


def read_until(descriptor: int, wanted: bytes) -> bytes:
    """Read a terminal until it shows some bytes, or to its end for none."""
    said = b""
    limit = time.perf_counter() + LONGEST_S
    while not wanted or wanted not in said:
        if not select.select([descriptor], [], [], max(0.0, limit - time.perf_counter()))[0]:
            raise RuntimeError(f"not {wanted!r} in {LONGEST_S:g} s:\n{said.decode(errors='replace')}")
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # as a terminal ends
            piece = b""
        if not piece:
            break
        said += piece
    if wanted not in said:
        raise RuntimeError(said.decode(errors="replace"))
    return said


class OutOfTimeError(Exception):
    """The bench took too long."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise OutOfTimeError after so long, and end in order when asked to."""

    def late(number: int, frame: FrameType | None) -> None:
        raise OutOfTimeError(f"not done in {seconds} s")

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write JSON; return 0 if every figure was measured."""
    parser = argparse.ArgumentParser(prog="bench/run_platform.py", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    arguments = parser.parse_args(argv)
    about = facts()
    print("\n".join(f"{title}: {value}" for title, value in about.items()), end="\n\n", flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tlsrt-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        bench = Bench(folder, Host(folder, configuration()))
        try:
            with time_limit(LIMIT_S):
                measure(bench)
        except OutOfTimeError as error:
            bench.missing.append(f"the rest: {error}")
        finally:
            bench.host.stop()
    show(bench, time.monotonic() - begin)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"platform-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    found = [asdict(one) | {"median": one.value, "missed": one.is_missed} for one in bench.figures]
    content = {"about": about, "figures": found, "missing": bench.missing, "notes": bench.notes, "load after": load()}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {path}")
    return 1 if bench.missing else 0


def measure(bench: Bench) -> None:
    """Start the host and take one step after the other; one that fails is named, and the next one goes on."""
    bench.host.start()
    names = ["forth.packer", "third.burner", f"third.{own(1)}"]
    bench.host.wait_for(lambda lines: all(is_active(name, lines) for name in names))
    for step in STEPS_IN_ORDER:
        try:
            step(bench)
        except (RuntimeError, TlsrtError, OSError, subprocess.SubprocessError, LookupError) as error:
            words = text.printable(str(error), 300)
            bench.missing.append(f"{step.__name__}: {type(error).__name__}: {words}")


def show(bench: Bench, spent_s: float) -> None:
    """Print the table, and which goals are missed."""
    cells = [["figure", "median", "", "from to", "goal", ""], *(one.row() for one in bench.figures)]
    print("", *text.table(cells, right={"median"}), sep="\n")
    print(f"load average: {load()} after; {spent_s:.0f} s")
    missed = [f"{one.title}: {one.value:,.2f} {one.unit}" for one in bench.figures if one.is_missed]
    print(f"goals missed: {'; '.join(missed) or 'none'}")
    for line in bench.notes:
        print(f"note: {line}")
    for line in bench.missing:
        print(f"NOT MEASURED: {line}")
