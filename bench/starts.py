"""The rows `start` and `idle`, our side: from the command to five active loops and the first answer; from SIGKILL to
serving again; and what a host costs that nobody asks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.host import Host, is_active
from bench.processes import cpu_ns, memory_kib
from bench.row import Case, Sample
from bench.supervisors import idle_sample
from tlsrt import Client, DeadlineExceeded, TlsrtError

ANSWER_S = 20.0
TRY_S = 2.0  # a call without an answer in this time counts as lost, and the next one is made


class Starts:
    """Starts a host anew for each burst of the case `start`; the other cases use the one that runs."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lost = 0
        self._stack = ExitStack()
        self._up = False

    def burst(self, case: Case, seconds: float) -> Sample:
        does = case.word("does")
        if does == "start":
            return self.start()
        if not self._up:
            self.start()
        if does == "idle":
            return idle_sample(list(self._host.pids().values()), seconds)
        return self._kill(case)

    def close(self) -> None:
        self._stack.close()
        self._host.stop()

    def start(self) -> Sample:
        self.close()
        active = self._host.start()
        self._up = True
        self._client = self._stack.enter_context(Client(self._host.bundle))
        answered = self._answer("primary/kernel", "uname")
        pids = self._host.pids().values()
        used = cpu_ns(pids)
        size = sum(memory_kib(pid)[0] for pid in pids)
        begin = self._host.started_at
        return {
            "ready_ms": (answered - begin) * 1000,
            "active_ms": (active - begin) * 1000,
            "cpu_ms": used / 1e6,
            "pss_mib": size / 1024,
        }

    def _kill(self, case: Case) -> Sample:
        loop = case.word("loop")
        pid = self._host.pids()[loop]
        self._host.forget()
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        active = self._host.wait_for(lambda lines: is_active(loop, lines))
        self._lost = 0
        answered = self._answer(case.word("target"), case.word("method"))
        return {"ready_ms": (answered - begin) * 1000, "active_ms": (active - begin) * 1000, "lost": self._lost}

    def _answer(self, target: str, method: str) -> float:
        """Call until it is answered, and return when that was."""
        limit = time.perf_counter() + ANSWER_S
        while True:
            try:
                self._client.call(target, method, timeout_s=TRY_S)
                return time.perf_counter()
            except TlsrtError as error:
                if time.perf_counter() > limit:
                    raise
                self._lost += isinstance(error, DeadlineExceeded)
                time.sleep(0.001)


@contextmanager
def open_tlsrt(folder: Path) -> Iterator[Starts]:
    starts = Starts(Host(folder))
    try:
        yield starts
    finally:
        starts.close()
