"""Many clients are connected when Primary is killed: all are served again soon, and none is told an error.

They share one address, as behind a router, and have the limits of an ordinary host.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from fakes.one_wire import OneWire
from hosts.host_files import DEFAULT_SESSIONS
from hosts.running_host import RunningHost

from chaos import crowd
from tlsrt import Client
from tlsrt.errors import CallError

NAME = "crowd"
PROCESSES = 2


class Crowd:
    """The processes of many clients."""

    def __init__(self, stack: ExitStack, folder: Path, count: int) -> None:
        bounds = [count * number // PROCESSES for number in range(PROCESSES + 1)]
        self._processes = [
            stack.enter_context(self._process([str(folder), NAME, str(first), str(last)]))
            for first, last in pairwise(bounds)
        ]
        for process in self._processes:
            stack.callback(process.kill)
        assert [self._line(process) for process in self._processes] == ["ready"] * PROCESSES

    def _process(self, arguments: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, crowd.__file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def tell(self, words: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{words}\n")
            process.stdin.flush()

    def figures(self) -> tuple[list[float], Counter[str]]:
        """Return when each client was served again, and the errors of all."""
        served, errors = list[float](), Counter[str]()
        for process in self._processes:
            each, codes = json.loads(self._line(process))
            served += each
            errors.update(codes)
        return sorted(served), errors


class Newcomer(threading.Thread):
    """A client that comes anew again and again, from an address of its own or that of the crowd, for a call each."""

    def __init__(self, host: RunningHost, name: str, source: str) -> None:
        super().__init__()
        self._bundle = host.bundle(name)
        self._port = host.port
        self._source = source
        self._end = threading.Event()
        self.came: list[tuple[float, float]] = []  # when it came, and how long it took from there to its answer
        self.turned_away: list[tuple[float, str]] = []

    def run(self) -> None:
        while not self._end.wait(0.3):  # more often is over the budget of a client
            begun = time.monotonic()
            try:
                with OneWire(self._port, self._source) as wire, Client(self._bundle, wire.address) as client:
                    client.call(crowd.TARGET, crowd.METHOD, crowd.KEY, timeout_s=60)
                self.came.append((begun, time.monotonic() - begun))
            except CallError as error:
                self.turned_away.append((begun, f"{error.code}: {error}"))

    def end(self) -> None:
        self._end.set()
        self.join()

    def since(self, moment: float) -> tuple[list[float], list[str]]:
        """Return how long its calls took that began after a moment, and how those ended that it could not make."""
        return (
            [took for begun, took in self.came if begun > moment],
            [what for begun, what in self.turned_away if begun > moment],
        )


@pytest.fixture
def host_of() -> Iterator[Callable[[int], RunningHost]]:
    with ExitStack() as stack:

        def host_of(count: int) -> RunningHost:
            names = [f"{NAME}_{number}" for number in range(count)]
            return stack.enter_context(
                RunningHost(
                    clients=[*names, "neighbour", "stranger"], policy={f"client/* -> {crowd.TARGET}": ["get", "put"]},
                    limits=DEFAULT_SESSIONS, extra={"door": {"max_connections": count + 64}},
                )
            )  # fmt: skip

        yield host_of


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=[pytest.mark.stress, pytest.mark.timeout(600)])])
def test_all_are_served_again_after_a_kill_of_primary(host_of: Callable[[int], RunningHost], count: int) -> None:
    """No client is told an error; who comes anew gets in, from elsewhere at once."""
    host = host_of(count)
    with host.client() as admin:
        admin.call(crowd.TARGET, "put", crowd.KEY, 1)
    with ExitStack() as stack:
        many = Crowd(stack, host.folder, count)
        neighbour, stranger = Newcomer(host, "neighbour", "127.0.0.1"), Newcomer(host, "stranger", "127.0.5.1")
        for newcomer in (neighbour, stranger):
            newcomer.start()
            stack.callback(newcomer.end)
        at, seen = time.monotonic(), len(host.console)
        host.kill("primary")
        many.tell(f"killed {at}")
        host.wait_for("^primary +active", after=seen)
        back = time.monotonic()
        served, errors = many.figures()
        for newcomer in (neighbour, stranger):
            host.until(lambda _: bool(newcomer.since(back)[0]), "a newcomer that was served", timeout_s=20)  # noqa: B023
            newcomer.end()
        many.tell("end")
    p50, p99 = statistics.median(served), served[len(served) * 99 // 100]
    print(f"{count} clients: Primary was back after {back - at:.2f} s; errors: {dict(errors)}")
    print(f"served again: median {p50:.2f} s, p99 {p99:.2f} s, the last {served[-1]:.2f} s")
    for name, newcomer in (("the crowd's address", neighbour), ("elsewhere", stranger)):
        took, away = newcomer.since(back)
        print(f"from {name}: {len(took)} came, the slowest in {max(took):.2f} s; turned away: {away}")
    assert len(served) == count and not errors
    assert served[-1] < 10 + count / 20, "an upper bound for a loaded machine"
    assert not stranger.since(back)[1]
