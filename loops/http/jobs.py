"""Jobs of an HTTP client: calls that it has put off. asyncio.

Primary holds the session of such a client, so that it makes the proof of a job itself; see config/door.py, `http_jobs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

from tlsrt.channels.calls.jobs import Change, JobCalls
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frames.deferral import JOB_BYTES
from tlsrt.loops.http.request import JSON, PREFIX, Act, HttpCall
from tlsrt.loops.http.response import HttpResponse, answer
from tlsrt.loops.http.session import DelegatedSession
from tlsrt.loops.http.values import encode_value

CHANGES: Mapping[Act, Change] = {Act.REMOVE_JOB: "remove", Act.PAUSE_JOB: "pause", Act.RESUME_JOB: "resume"}
_DONE = {Act.REMOVE_JOB: "removed", Act.PAUSE_JOB: "paused", Act.RESUME_JOB: "resumed"}


class HttpJobs:
    """What one client has put off."""

    def __init__(self, session: DelegatedSession) -> None:
        self._session = session
        self._calls = JobCalls(session.caller, boottime_ms)

    async def put(self, wish: HttpCall, args: Sequence[object], kwargs: Mapping[str, object]) -> HttpResponse:
        """Put a call off; raises a CallError. With an Idempotency-Key it is put once, however often it is asked."""
        later = wish.later
        assert later is not None
        job = b""
        if wish.idempotency_key is not None:
            words = (self._session.subject, wish.target, wish.method, wish.idempotency_key)
            job = sha256("\0".join(words).encode()).digest()[:JOB_BYTES]
        put = await self._calls.put(
            later.when, wish.target, wish.method, args, kwargs, missed=later.missed, jitter=later.jitter or None,
            timeout_s=wish.timeout_s, job=job,
        )  # fmt: skip
        return answer(202, JSON, json.dumps({"job": put}).encode(), {"Location": f"{PREFIX}/jobs/{put}"})

    async def document(self, wish: HttpCall) -> HttpResponse:
        """List the jobs, show one, or change one; raises a CallError."""
        if wish.act is Act.JOBS:
            return answer(200, JSON, encode_value({"jobs": await self._calls.entries(timeout_s=wish.timeout_s)}))
        if wish.act is Act.SHOW_JOB:
            return answer(200, JSON, encode_value(await self._calls.show(wish.job, timeout_s=wish.timeout_s)))
        done = await self._calls.change(CHANGES[wish.act], wish.job, timeout_s=wish.timeout_s)
        return answer(200, JSON, json.dumps({_DONE[wish.act]: done}).encode())
