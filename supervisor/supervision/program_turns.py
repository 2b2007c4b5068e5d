"""Turns of programs: which request is served next, and how many processes are forked a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tlsrt.rate_limit import Bucket, Buckets
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.supervision.program_run import ProgramRun

BIRTHS_BURST, BIRTHS_PER_S = 32, 20.0  # of one process; a life channel carries 50 records a second
ALL_BIRTHS_BURST, ALL_BIRTHS_PER_S = 64, 40.0  # of the host: a fork takes some milliseconds of the supervisor


class ProgramTurns:
    """Serves one request in a turn of the event loop, of one process after the other."""

    def __init__(self, event_loop: EventLoop, serve: Callable[[ProgramRun], None]) -> None:
        self._event_loop = event_loop
        self._serve = serve
        self._waiting: dict[str, deque[ProgramRun]] = {}  # by process, whose turn is next first
        self._is_coming = False  # a turn of the event loop for them
        self._births = Buckets(BIRTHS_BURST, BIRTHS_PER_S)
        self._all_births = Bucket(ALL_BIRTHS_BURST, ALL_BIRTHS_PER_S)

    def admit(self, process: str) -> bool:
        """Count a request of a process; tell whether it is no flood."""
        return self._births.take(process, self._event_loop.now)

    def queue(self, run: ProgramRun) -> None:
        """Have a run served when its process has its turn."""
        self._waiting.setdefault(run.loop.name, deque()).append(run)
        self._come(0)

    def _come(self, delay_s: float) -> None:
        if not self._is_coming:
            self._is_coming = True
            self._event_loop.call_later(delay_s, self._serve_next)

    def _serve_next(self) -> None:
        """Serve one, and come again for one of the next process: others have their turn between."""
        self._is_coming = False
        if not self._all_births.take(self._event_loop.now):
            self._come(1 / ALL_BIRTHS_PER_S)
            return
        process = next(iter(self._waiting))
        runs = self._waiting.pop(process)
        run = runs.popleft()
        if runs:
            self._waiting[process] = runs
        if self._waiting:
            self._come(0)
        self._serve(run)
