"""Jobs of a caller: calls that it puts off, lists and removes, at the components that run them. asyncio.

A job is put by a request to the method that it will call, so that it needs no other right; list and remove go by
`describe`, which every caller of a target may call. What is put is acknowledged when it is on the host's disk. A
request whose answer was lost is repeated with the same id, so nothing is put twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypedDict

from tlsrt.channels.calls.caller import Caller
from tlsrt.channels.frames.body import encode_request
from tlsrt.channels.frames.deferral import CALL_MAX, JOB_BYTES, MISSED
from tlsrt.channels.session.job_proof import job_data, prove_job
from tlsrt.errors import CallError, InvalidArgument, NotFound, OutcomeUnknown, Stale, Unavailable
from tlsrt.when import when_text

PAUSE_S = 0.1  # before what may have been lost is asked again
SHORTEST = 4  # hex digits of an id


class JobEntry(TypedDict, total=False):
    """A job as it is listed. Times are ms since 1970, 0 for none; `error` says why a target's jobs are not known."""

    id: str
    target: str
    method: str
    when: str
    missed: str
    next: int
    runs: int
    last: int  # when it last began
    outcome: str  # of that run: done, running, unknown, or the code of an error
    error: str


class JobCalls:
    """What one caller has put off. `clock` is the host's BOOTTIME in ms."""

    def __init__(self, caller: Caller, clock: Callable[[], int]) -> None:
        self._caller = caller
        self._clock = clock

    async def put(
        self, when: str | datetime | timedelta, target: str, method: str, args: Sequence[object],
        kwargs: Mapping[str, object], *, missed: str, timeout_s: float,
    ) -> str:  # fmt: skip
        """Put a call off and return the id of the job. Raises a CallError; `timeout_s` is for this, not for the run."""
        if missed not in MISSED:
            raise InvalidArgument(f"cannot take missed={missed!r}: write 'once' or 'skip'")
        text, call = when_text(when), encode_request(args, kwargs, None)
        if len(call) > CALL_MAX:
            raise InvalidArgument(f"the arguments have {len(call)} bytes, and those of a job at most {CALL_MAX}")
        job = os.urandom(JOB_BYTES)
        until = self._clock() + int(timeout_s * 1000)
        while True:
            left = until - self._clock()
            try:
                return await self._put(job, text, target, method, missed, call, left / 1000)
            except (OutcomeUnknown, Stale):  # keys of the host have changed meanwhile: the proof is made anew
                if left < PAUSE_S * 2000:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def _put(
        self, job: bytes, when: str, target: str, method: str, missed: str, call: bytes, timeout_s: float
    ) -> str:
        endpoint = self._caller.endpoint
        deadline = self._clock() + int(max(0.001, timeout_s) * 1000)
        endpoint.check_right(target)
        data = job_data(endpoint.session, target, method, deadline, job, when, missed, call)
        epoch, number, proof = endpoint.sign_with(prove_job, data)
        fields = ("put", job, when, missed, call, deadline, epoch, number, proof)
        await self._caller.call(target, method, timeout_s=max(0.001, timeout_s), deferral=fields)
        return job.hex()

    async def entries(self, *, timeout_s: float) -> list[JobEntry]:
        """Return this caller's jobs at all that it may call, by the time at which they are due."""
        asked = partial(self._entries, timeout_s=timeout_s)
        found = await asyncio.gather(*map(asked, sorted(self._caller.endpoint.rights)))
        return sorted((entry for entries in found for entry in entries), key=lambda entry: entry.get("next", 0))

    async def _entries(self, target: str, timeout_s: float) -> list[JobEntry]:
        try:
            rows = await self._caller.call(target, "describe", timeout_s=timeout_s, deferral=("list",))
        except CallError as error:
            return [JobEntry(target=target, error=str(error))]
        return [_entry(target, row) for row in rows]

    async def remove(self, job: str, *, timeout_s: float) -> str:
        """End a job of this caller by its id, or the first digits of it; return the whole id. Raises NotFound."""
        if not len(job) >= SHORTEST or not set(job) <= set("0123456789abcdef"):
            raise InvalidArgument(f"{job!r} is no id of a job: give at least {SHORTEST} of its hex digits")
        entries = await self.entries(timeout_s=timeout_s)
        found = [entry for entry in entries if entry.get("id", "").startswith(job)]
        if len(found) > 1:
            raise InvalidArgument(f"the ids of {len(found)} jobs begin with {job}: give more digits")
        if not found:
            away = [entry["target"] for entry in entries if "error" in entry]
            if away:
                raise Unavailable(f"no job {job} is known, but {', '.join(away)} did not answer: try again")
            raise NotFound(f"this caller has no job {job}")
        whole = found[0]["id"]
        fields = ("remove", bytes.fromhex(whole))
        await self._caller.call(found[0]["target"], "describe", timeout_s=timeout_s, deferral=fields)
        return whole


def _entry(target: str, row: Any) -> JobEntry:
    job, method, when, missed, due, runs, last, outcome = row
    return JobEntry(
        id=job.hex(), target=target, method=method, when=when, missed=missed, next=due, runs=runs, last=last,
        outcome=outcome,
    )  # fmt: skip
