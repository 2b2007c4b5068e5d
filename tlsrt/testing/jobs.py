"""Jobs of a component in a test: kept in memory, and run when the test says that it is time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from tlsrt.channels.frames.body import encode_request
from tlsrt.channels.frames.deferral import CALL_MAX, JOB_BYTES
from tlsrt.errors import CallError, InvalidArgument, NotFound
from tlsrt.loops.component.deferring import Change
from tlsrt.when import missed_text, when_text

RUN_S = 300.0


class Calls(Protocol):
    """The way of the component's own calls."""

    async def call(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, timeout_s: float,
        idempotency_key: str | None,
    ) -> Any: ...  # fmt: skip


@dataclass(slots=True)
class _Job:
    target: str
    method: str
    when: str
    missed: str
    args: Sequence[object]
    kwargs: Mapping[str, object]
    runs: int = 0
    last: int = 0
    outcome: str = ""
    is_paused: bool = False
    history: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])


class MemoryJobs:
    """What a component has put off. Checks are those of a host, without its rights and bounds."""

    def __init__(self, calls: Calls, clock: Callable[[], float] = time.time) -> None:
        self._calls = calls
        self._clock = clock
        self._jobs: dict[str, _Job] = {}

    async def put(
        self, when: str | datetime | timedelta, target: str, method: str, args: Sequence[object],
        kwargs: Mapping[str, object], *, missed: str, timeout_s: float, jitter: str | timedelta | None = None,
    ) -> str:  # fmt: skip
        """Keep a job and return its id. Raises InvalidArgument."""
        missed, text = missed_text(missed), when_text(when, jitter)
        size = len(encode_request(args, kwargs, None))
        if size > CALL_MAX:
            raise InvalidArgument(f"the arguments have {size} bytes, and those of a job at most {CALL_MAX}")
        job = os.urandom(JOB_BYTES).hex()
        self._jobs[job] = _Job(target, method, text, missed, args, kwargs)
        return job

    async def entries(self, *, timeout_s: float) -> Sequence[Mapping[str, Any]]:
        """Return the jobs in the order in which they were put; `next` is 0, as the test says when."""
        return [self._entry(job, one) for job, one in self._jobs.items()]

    async def show(self, job: str, *, timeout_s: float) -> Mapping[str, Any]:
        """Return all of a job; without next times, as the test says when. Raises NotFound."""
        one = self._found(job)
        paused_by = "its owner" if one.is_paused else ""
        return {
            **self._entry(job, one), "upcoming": [], "history": list(one.history), "paused_by": paused_by,
            "args": list(one.args), "kwargs": dict(one.kwargs),
        }  # fmt: skip

    async def change(self, what: Change, job: str, *, timeout_s: float) -> str:
        """Forget a job, pause it or have it go on; the test runs it all the same. Raises NotFound."""
        one = self._found(job)
        if what == "remove":
            del self._jobs[job]
        else:
            one.is_paused = what == "pause"
        return job

    def _found(self, job: str) -> _Job:
        if (found := self._jobs.get(job)) is None:
            raise NotFound(f"this caller has no job {job}")
        return found

    def _entry(self, job: str, one: _Job) -> Mapping[str, Any]:
        return {
            "id": job, "target": one.target, "method": one.method, "when": one.when, "missed": one.missed, "next": 0,
            "runs": one.runs, "last": one.last, "outcome": "paused" if one.is_paused else one.outcome,
        }  # fmt: skip

    async def run(self, job: str) -> str:
        """Make the call of a job now; return `done`, or the code of its error. Raises NotFound."""
        found = self._found(job)
        found.runs, found.last, found.outcome = found.runs + 1, int(self._clock() * 1000), "running"
        try:
            await self._calls.call(
                found.target, found.method, found.args, found.kwargs, timeout_s=RUN_S, idempotency_key=None
            )
            found.outcome = "done"
        except CallError as error:
            found.outcome = error.code
        took_ms = int(self._clock() * 1000) - found.last
        found.history.append({"began": found.last, "took_ms": took_ms, "outcome": found.outcome})
        return found.outcome
