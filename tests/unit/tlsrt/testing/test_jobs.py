"""Jobs in a test without a host: kept, listed, and run when the test says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tlsrt import Busy, Component, InvalidArgument, NotFound, handler
from tlsrt.testing import running_sync

KETTLE = "third/kettle"


class Cook(Component):
    """Puts off what a kettle does."""

    @handler
    async def later(self, when: str, celsius: int, missed: str = "once") -> str:
        return await self.put_off(when, KETTLE, "boil", celsius, missed=missed)

    @handler
    async def soon(self, text: str) -> str:
        return await self.put_off(timedelta(minutes=10), KETTLE, "say", text=text)

    @handler
    async def jobs(self) -> list[dict[str, Any]]:
        return [dict(one) for one in await self.list_jobs()]

    @handler
    async def change(self, what: str, job: str) -> str:
        await (self.pause_job(job) if what == "pause" else self.resume_job(job))
        return str((await self.show_job(job))["outcome"])

    @handler
    async def shown(self, job: str) -> dict[str, Any]:
        return dict(await self.show_job(job))

    @handler
    async def forget(self, job: str) -> str:
        return await self.remove_job(job)


class FakeKettle:
    """A peer that boils up to 100."""

    def boil(self, celsius: int) -> None:
        if celsius > 100:
            raise Busy("it boils already")


def test_a_job_is_listed_and_runs_when_the_test_says_so() -> None:
    with running_sync(Cook, peers={KETTLE: FakeKettle()}) as cook:
        job = cook.call("later", "30 6 * * *", 80)
        (entry,) = cook.call("jobs")
        assert (entry["id"], entry["when"], entry["outcome"], cook.sent) == (job, "30 6 * * *", "", [])
        assert cook.run_job(job) == "done" and cook.run_job(job) == "done"
        (entry,) = cook.call("jobs")
        assert (entry["runs"], entry["outcome"]) == (2, "done") and entry["last"] > 0
        assert [(one.target, one.method, one.args) for one in cook.sent] == [(KETTLE, "boil", [80])] * 2
        assert cook.call("forget", job) == job and cook.call("jobs") == []


def test_an_error_of_its_run_is_an_outcome_and_named_arguments_travel() -> None:
    with running_sync(Cook, peers={KETTLE: FakeKettle()}) as cook:
        assert cook.run_job(cook.call("later", "10m", 101)) == "busy"
        cook.run_job(cook.call("soon", "hot"))
        assert cook.sent[-1].kwargs == {"text": "hot"}


def test_what_a_host_would_refuse_is_refused_here() -> None:
    with running_sync(Cook) as cook:
        with pytest.raises(InvalidArgument):
            cook.call("later", "sometime", 80)
        with pytest.raises(InvalidArgument, match="missed='often'"):
            cook.call("later", "10m", 80, "often")
        with pytest.raises(InvalidArgument, match="those of a job at most 4096"):
            cook.call("soon", "x" * 5000)
        with pytest.raises(InvalidArgument, match="period"):
            cook.call("later", "every 1s", 80)
        with pytest.raises(NotFound):
            cook.run_job("00")


def test_a_job_is_shown_paused_and_resumed() -> None:
    with running_sync(Cook, peers={KETTLE: FakeKettle()}) as cook:
        job = cook.call("later", "every 10m", 101, "1h")
        assert cook.call("change", "pause", job) == "paused"
        assert cook.call("change", "resume", job) == ""
        cook.run_job(job)
        shown = cook.call("shown", job)
        assert (shown["when"], shown["missed"], shown["args"]) == ("%600", "+3600", [101])
        assert [end["outcome"] for end in shown["history"]] == ["busy"]
