"""The part of a component that puts calls off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from tlsrt.errors import NotFound, Unavailable
from tlsrt.loops.component.surroundings import Surrounding

Change = Literal["remove", "pause", "resume"]


class JobPort(Protocol):
    """The runtime's side of `Deferring`; see channels/calls/jobs.py."""

    async def put(
        self, when: str | datetime | timedelta, target: str, method: str, args: Sequence[object],
        kwargs: Mapping[str, object], *, missed: str, timeout_s: float, jitter: str | timedelta | None = None,
    ) -> str: ...  # fmt: skip
    async def entries(self, *, timeout_s: float) -> Sequence[Mapping[str, Any]]: ...
    async def show(self, job: str, *, timeout_s: float) -> Mapping[str, Any]: ...
    async def change(self, what: Change, job: str, *, timeout_s: float) -> str: ...


class NoJobs:
    """Where no authority keeps jobs, as in a test without a host."""

    async def put(self, *given: object, **named: object) -> str:
        raise Unavailable("jobs need a host: there is no authority here that keeps them")

    async def entries(self, *, timeout_s: float) -> Sequence[Mapping[str, Any]]:
        return []

    async def show(self, job: str, *, timeout_s: float) -> Mapping[str, Any]:
        raise NotFound(f"this caller has no job {job}")

    async def change(self, what: Change, job: str, *, timeout_s: float) -> str:
        raise NotFound(f"this caller has no job {job}")


class Deferring:
    """The part of a component that puts calls to others off, as jobs."""

    _tlsrt_jobs: Surrounding[JobPort] = Surrounding()

    async def put_off(
        self, when: str | datetime | timedelta, target: str, method: str, /, *args: object,
        missed: str = "once", jitter: str | timedelta | None = None, timeout_s: float = 30.0, **kwargs: object,
    ) -> str:  # fmt: skip
        """Have a call made later, with this component as its caller; return the id of the job.

            await self.put_off("30 6 * * *", "third/kettle", "boil", 80)
            await self.put_off("every 10m", "third/kettle", "boil", 80, jitter="30s")

        `when` is a time as cron(8) has it, a period such as `"every 10m"`, a duration such as `"10m"`, an ISO time with
        a time zone, a datetime or a timedelta. It outlives both processes and the host. Each time runs at most once;
        one at which host or target was away is made up for once, not at all with `missed="skip"`, or with
        `missed="1h"` if it is no later than that. `jitter` delays all runs of the job by the same, which is chosen by
        chance within it. `timeout_s` is for putting it. Raises CallErrors.
        """
        return await self._tlsrt_jobs.put(
            when, target, method, args, kwargs, missed=missed, timeout_s=timeout_s, jitter=jitter
        )

    async def list_jobs(self, *, timeout_s: float = 30.0) -> Sequence[Mapping[str, Any]]:
        """Return the jobs that this component has put: id, target, method, when, next, outcome of the last run."""
        return await self._tlsrt_jobs.entries(timeout_s=timeout_s)

    async def remove_job(self, job: str, *, timeout_s: float = 30.0) -> str:
        """End a job of this component, by its id. Raises NotFound."""
        return await self._tlsrt_jobs.change("remove", job, timeout_s=timeout_s)

    async def show_job(self, job: str, *, timeout_s: float = 30.0) -> Mapping[str, Any]:
        """Return all of a job of this component: also its next times, how its last runs ended, its arguments."""
        return await self._tlsrt_jobs.show(job, timeout_s=timeout_s)

    async def pause_job(self, job: str, *, timeout_s: float = 30.0) -> str:
        """Have a job of this component run no more until `resume_job`. Raises NotFound."""
        return await self._tlsrt_jobs.change("pause", job, timeout_s=timeout_s)

    async def resume_job(self, job: str, *, timeout_s: float = 30.0) -> str:
        """Have a paused job go on; its times that came meanwhile are left out. Raises NotFound."""
        return await self._tlsrt_jobs.change("resume", job, timeout_s=timeout_s)
