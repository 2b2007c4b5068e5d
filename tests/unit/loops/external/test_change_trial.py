"""Trials of changes: what is undone and when, what is read in whose time, and what is kept of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tlsrt import Busy, Component, Failed, database, handler
from tlsrt.loops.external import change_trial
from tlsrt.loops.external.change_trial import STEPS, ChangeTrial
from tlsrt.testing import running


class Lamp(Component):
    """Something that is changed on trial: a number."""

    topics = {"changed": "of a revision"}  # noqa: RUF012
    db = database(steps=STEPS)

    async def start(self) -> None:
        self.is_now = 0
        self.trouble: Exception | None = None
        self.tries = 0
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.trial = ChangeTrial(self)
        await self.trial.start()

    @handler
    async def put(self, number: int, trial_s: int = 60) -> int:
        """Change it on trial."""
        return await self.trial.begin(self.caller, number, self._before, trial_s)

    @handler
    async def end(self, revision: int, confirms: bool) -> None:
        """End the trial."""
        await (self.trial.confirm if confirms else self.trial.undo)(revision, self.caller)

    async def _before(self) -> int:
        return self.is_now

    async def attempt(self, number: int, wanted: Any, undo: Any, trial_s: int) -> None:
        """Do it."""
        self.is_now = wanted

    async def settle(self, number: int, wanted: Any) -> None:
        """It is so."""

    async def go_back(self, undo: Any) -> None:
        """Undo it."""
        self.tries += 1
        await self.may_go.wait()
        if self.trouble is not None:
            raise self.trouble
        self.is_now = undo


def test_what_cannot_be_undone_is_tried_again_after_a_pause_also_in_a_later_trial() -> None:
    async def tried() -> None:
        async with running(Lamp) as host:
            lamp: Any = host.component
            await host.call("end", await host.call("put", 1), True)
            lamp.trouble = Failed("no")
            await host.call("put", 2, 0)
            await asyncio.sleep(0.2)  # in which it was tried without end
            assert lamp.tries == 1

    asyncio.run(tried())


@pytest.mark.parametrize("trouble", [Failed("no"), ValueError("nor what it did not expect")])
def test_whatever_goes_wrong_it_is_undone_in_the_end(trouble: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_trial, "AGAIN_S", 0.01)

    async def tried() -> None:
        async with running(Lamp) as host:
            lamp: Any = host.component
            lamp.trouble = trouble
            await host.call("put", 2, 0)
            async with asyncio.timeout(20):
                while lamp.tries < 3:
                    await asyncio.sleep(0.01)
                lamp.trouble = None
                while lamp.trial.number:
                    await asyncio.sleep(0.01)
            assert lamp.is_now == 0

    asyncio.run(tried())


def test_what_undoes_a_change_is_read_when_the_trial_before_is_over() -> None:
    async def tried() -> None:
        async with running(Lamp) as host:
            lamp: Any = host.component
            first = await host.call("put", 1)
            with pytest.raises(Busy):
                await host.call("put", 2)
            lamp.may_go.clear()
            undoing = asyncio.create_task(host.call("end", first, False))
            while not lamp.tries:
                await asyncio.sleep(0.001)
            second = asyncio.create_task(host.call("put", 2))
            await asyncio.sleep(0.02)
            lamp.may_go.set()
            await undoing
            await host.call("end", await second, False)
            assert lamp.is_now == 0, "it went back to what was there, and not to the trial before"

    asyncio.run(tried())


def test_so_many_revisions_are_kept_also_of_those_that_were_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_trial, "KEPT", 3)

    async def tried() -> None:
        async with running(Lamp) as host:
            lamp: Any = host.component
            for number in range(8):
                await host.call("end", await host.call("put", number), True)
            assert len(await lamp.db.read("select number from revisions")) <= 4
            assert (await lamp.trial.facts())["revision"] == 8

    asyncio.run(tried())
