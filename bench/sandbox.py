"""The rows about the sandbox: what it costs a loop's start, and what Landlock and the filters cost each message.

The hosts are those of the tests (`tests/hosts/running_host.py`), which can run as root and as a user without rights. A
prelude in the supervisor takes the times: of all layers together, which is what a loop without a sandbox would not pay;
from just before the fork to the report that privileges are gone, the fork and our own imports included; and of the
seal. Restarts are not delayed, so that many can be measured.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bench.call_peers import ANSWER_S, sample_of
from bench.host import ADDED, COMPONENTS
from bench.processes import cpu_ns
from bench.row import Case, PeerMissing, Sample

TESTS = Path(__file__).resolve().parent.parent / "tests"
WAIT_S = 20.0
# However often a loop is killed here, the next one comes within a moment.
_AT_ONCE = {"supervision": {"restart": {"first_s": 0.001, "cap_s": 0.01, "deaths": 1000, "window_s": 1}}}
_TIMED = """
import os, time
from tlsrt.sandbox.apply.enter import Confinement
from tlsrt.supervisor.process import spawn as spawning
taken, forked, fork = [0.0, 0.0], [0.0], spawning._fork
world, drop, seal = Confinement._world, Confinement.drop, Confinement.seal
def timed_fork(*args, **how):
    forked[0] = time.perf_counter()
    return fork(*args, **how)
def timed(step):
    def run(self, *args):
        begin, cpu = time.perf_counter(), time.process_time()
        result = step(self, *args)
        self.took = (time.perf_counter() - begin) * 1e3
        taken[0] += self.took
        taken[1] += (time.process_time() - cpu) * 1e3
        return result
    return run
def timed_drop(self):
    report = timed(drop)(self)
    self.confined = (time.perf_counter() - forked[0]) * 1e3
    return report
def timed_seal(self, *args):
    report = timed(seal)(self, *args)
    os.write(2, b"sandbox %.3f %.3f %.3f %.3f\\n" % (taken[0], taken[1], self.confined, self.took))
    return report
spawning._fork, Confinement._world = timed_fork, timed(world)
Confinement.drop, Confinement.seal = timed_drop, timed_seal
"""
_UNSEALED = """
from tlsrt.sandbox.profile import compose
whole = compose._layers
compose._layers = lambda **how: tuple(n for n in whole(**how) if not n.startswith(("landlock", "seccomp")))
"""
_LINE = re.compile(r"^sandbox ([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+)$", re.MULTILINE)
_FIGURES = ("layers_ms", "cpu_ms", "confined_ms", "seal_ms")


def _host(**options: Any) -> Any:
    """Return a host of the tests; they are no package of ours, so their folder is looked into only here."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from hosts.running_host import RunningHost

    class QuietHost(RunningHost):
        def print_logs(self) -> None:
            print(self.output.transcript(), file=sys.stderr)  # the bench reads what goes to stdout

    return QuietHost(**options)


class LoopStarts:
    """Kills a loop, and reads from its log what its sandbox took when it came again."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def burst(self, case: Case, seconds: float) -> Sample:
        loop, host = case.word("loop"), self._host
        before, console = len(_LINE.findall(host.log(loop))), len(host.console)
        host.kill(loop, signal.SIGKILL)
        host.wait_for(rf"^{loop} +active ", after=console)
        end = time.monotonic() + WAIT_S
        while len(found := _LINE.findall(host.log(loop))) == before:
            assert time.monotonic() < end, "the log tells no times"
        return {name: float(word) for name, word in zip(_FIGURES, found[-1], strict=True)}


def open_starts(mode: str) -> Callable[[Path], AbstractContextManager[LoopStarts]]:
    """Return how to open a host whose loops are started again and again, as root or rootless."""

    @contextmanager
    def opened(folder: Path) -> Iterator[LoopStarts]:
        if mode == "root" and os.geteuid() != 0:
            raise PeerMissing("only root starts a host as root")
        with _host(mode=mode, prelude=_TIMED, extra=_AT_ONCE) as host:
            yield LoopStarts(host)

    return opened


class SealedCalls:
    """Asks the driver component over TLS for a burst; the driver measures."""

    def __init__(self, host: Any) -> None:
        self._client = host.client()
        self._pids = host.pids()

    def burst(self, case: Case, seconds: float) -> Sample:
        before = cpu_ns(self._pids.values())
        result = self._client.call(
            "third/driver", "run", "secondary/echo", case.number("size"), case.number("outstanding"), seconds,
            timeout_s=seconds + ANSWER_S,
        )  # fmt: skip
        return sample_of(result, cpu_ns(self._pids.values()) - before)


def open_calls(*, sealed: bool) -> Callable[[Path], AbstractContextManager[SealedCalls]]:
    """Return how to open the host of the row `call`, with all layers or without Landlock and the filters."""

    @contextmanager
    def opened(folder: Path) -> Iterator[SealedCalls]:
        packages = [COMPONENTS / "tlsrt_bench"]
        with _host(prelude="" if sealed else _UNSEALED, packages=packages, **ADDED) as host:
            yield SealedCalls(host)

    return opened
