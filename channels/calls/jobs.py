"""Jobs of a caller: calls that it puts off, lists, pauses and removes, at the components that run them. asyncio.

A job is put by a request to the method that it will call, so that it needs no other right; all else goes by
`describe`, which every caller of a target may call. What is put is acknowledged when it is on the host's disk. A
request whose answer was lost is repeated with the same id, so nothing is put twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, TypedDict, cast

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tlsrt.channels.calls.caller import Caller
from tlsrt.channels.frames.body import decode_request_untrusted, encode_request
from tlsrt.channels.frames.deferral import CALL_MAX, JOB_BYTES
from tlsrt.channels.session.job_proof import job_data, prove_job
from tlsrt.channels.session.job_result import RESULT_MAX, TOO_LARGE, open_result, result_key
from tlsrt.errors import CallError, Failed, InvalidArgument, NotFound, OutcomeUnknown, PeerError, Stale, Unavailable
from tlsrt.when import missed_text, when_text

Change = Literal["remove", "pause", "resume"]

PAUSE_S = 0.1  # before what may have been lost is asked again
SHORTEST = 4  # hex digits of an id
_ROW = (bytes, str, str, str, int, int, int, str)
_DETAILS = (list, list, list, str, bytes, int, bytes)
DONE = "done"


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
    outcome: str  # of that run: done, running, unknown, or the code of an error; paused
    error: str


class JobEnd(TypedDict):
    """How a run of a job ended, or why a time was left out."""

    began: int  # ms since 1970
    took_ms: int
    outcome: str


class JobDetails(JobEntry, total=False):
    """All of one job. The last three are there if its results are kept and one has come."""

    paused_by: str  # empty if it is not paused
    upcoming: list[int]  # next times, ms since 1970
    history: list[JobEnd]  # the newest last
    args: list[Any]  # of the call; empty when there is no next time
    kwargs: dict[str, Any]
    result_run: int
    result: Any
    result_error: str  # the sentence of an error, or why the result is not shown


class JobCalls:
    """What one caller has put off. `clock` is the host's BOOTTIME in ms.

    `secret` gives what only this caller has, now and in later processes; without it no results are kept.
    """

    def __init__(self, caller: Caller, clock: Callable[[], int], secret: Callable[[], bytes] | None = None) -> None:
        self._caller = caller
        self._clock = clock
        self._secret = secret

    async def put(
        self, when: str | datetime | timedelta, target: str, method: str, args: Sequence[object],
        kwargs: Mapping[str, object], *, missed: str, timeout_s: float, jitter: str | timedelta | None = None,
        job: bytes = b"", keep_result: bool = False,
    ) -> str:  # fmt: skip
        """Put a call off and return the id of the job. Raises a CallError; `timeout_s` is for this, not for the run.

        A `job` of the caller's choice is put once, however often it is asked.
        """
        missed, text, call = missed_text(missed), when_text(when, jitter), encode_request(args, kwargs, None)
        if len(call) > CALL_MAX:
            raise InvalidArgument(f"the arguments have {len(call)} bytes, and those of a job at most {CALL_MAX}")
        job = job or os.urandom(JOB_BYTES)
        key = self._result_key(job).public_key().public_bytes_raw() if keep_result else b""
        until = self._clock() + int(timeout_s * 1000)
        while True:
            left = until - self._clock()
            try:
                return await self._put(job, text, target, method, missed, call, key, left / 1000)
            except (OutcomeUnknown, Stale):  # keys of the host have changed meanwhile: the proof is made anew
                if left < PAUSE_S * 2000:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def _put(
        self, job: bytes, when: str, target: str, method: str, missed: str, call: bytes, key: bytes, timeout_s: float
    ) -> str:
        endpoint = self._caller.endpoint
        deadline = self._clock() + int(max(0.001, timeout_s) * 1000)
        endpoint.check_right(target)
        data = job_data(endpoint.session, target, method, deadline, job, when, missed, call, key)
        epoch, number, proof = endpoint.sign_with(prove_job, data)
        fields = ("put", job, when, missed, call, deadline, epoch, number, proof, *([key] if key else []))
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
            return [_entry(target, row) for row in _list(target, rows)]
        except CallError as error:
            return [JobEntry(target=target, error=str(error))]

    async def change(self, what: Change, job: str, *, timeout_s: float) -> str:
        """Remove, pause or resume a job of this caller; return its whole id. Raises NotFound."""
        found = await self._found(job, timeout_s)
        await self._ask(what, found, timeout_s)
        return found["id"]

    async def show(self, job: str, *, timeout_s: float) -> JobDetails:
        """Return all of a job of this caller. Raises NotFound."""
        found = await self._found(job, timeout_s)
        target = found["target"]
        rows = _list(target, await self._ask("show", found, timeout_s))
        if tuple(map(type, rows)) != _DETAILS:
            raise Failed(f"{target} shows what is no job")
        row, upcoming, history, paused_by, call, run, sealed = rows
        args, kwargs = _call_untrusted(call)
        shown = cast("JobDetails", {
            **_entry(target, row), "upcoming": [due for due in upcoming if type(due) is int],
            "history": [_end(target, past) for past in history], "paused_by": paused_by, "args": args,
            "kwargs": kwargs,
        })  # fmt: skip
        if sealed:
            shown["result_run"] = run
            self._add_result(shown, bytes.fromhex(found["id"]), run, sealed)
        return shown

    def _result_key(self, job: bytes) -> X25519PrivateKey:
        if self._secret is None:
            raise InvalidArgument("cannot keep the result: only a client with a bundle has a key to read it with later")
        return result_key(self._secret(), job)

    def _add_result(self, shown: JobDetails, job: bytes, run: int, sealed: bytes) -> None:
        try:
            outcome, value = open_result(self._result_key(job), job, run, sealed)
        except (PeerError, InvalidArgument, OverflowError):
            shown["result_error"] = "it is sealed for another key: this client has been renewed since"
            return
        if outcome == DONE:
            shown["result"] = value
        else:
            too_large = f"it has {value} bytes, and one of at most {RESULT_MAX} is kept"
            shown["result_error"] = too_large if outcome == TOO_LARGE else str(value)

    async def _ask(self, what: str, entry: JobEntry, timeout_s: float) -> Any:
        fields = (what, bytes.fromhex(entry["id"]))
        return await self._caller.call(entry["target"], "describe", timeout_s=timeout_s, deferral=fields)

    async def _found(self, job: str, timeout_s: float) -> JobEntry:
        """Return the job of an id, or of the first digits of one. Raises a CallError."""
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
        return found[0]


def _list(target: str, rows: Any) -> list[Any]:
    if not isinstance(rows, list):
        raise Failed(f"{target} shows what is no list of jobs")
    return rows


def _end(target: str, past: Any) -> JobEnd:
    if not isinstance(past, list) or tuple(map(type, past)) != (int, int, str):
        raise Failed(f"{target} shows what is no job")
    return JobEnd(began=past[0], took_ms=past[1], outcome=past[2])


def _call_untrusted(call: bytes) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a job as its target shows them; none of what cannot be read."""
    try:
        args, kwargs, _, _ = decode_request_untrusted(call)
    except PeerError:
        return [], {}
    return args, kwargs


def _entry(target: str, row: Any) -> JobEntry:
    """Return a job as its target shows it. Raises Failed for what is none."""
    if not isinstance(row, list) or tuple(map(type, row)) != _ROW:
        raise Failed(f"{target} shows what is no job")
    job, method, when, missed, due, runs, last, outcome = row
    return JobEntry(
        id=job.hex(), target=target, method=method, when=when, missed=missed, next=due, runs=runs, last=last,
        outcome=outcome,
    )  # fmt: skip
