"""A change of the host's network on trial: done, and undone by itself unless it is confirmed in time.

What is to be undone is on the disk before anything is done. A component that comes up again after it died in a trial
undoes that first: the one who was to confirm may be cut off. What holds while no process of ours lives is in `Change`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from tlsrt import Busy, CallError, Failed, NotFound

STEPS = [
    "create table revisions (number integer primary key, caller text not null, at real not null, state text not null,"
    " wanted text not null, undo text not null, why text not null default '')",
]
KEPT = 100  # revisions that are remembered
AGAIN_S = 5.0  # between two tries to undo
_FORGET = "delete from revisions where number <= ? and state not in (?, ?)"
TRYING, LOADED, UNDONE = "trying", "loaded", "undone"


class Change(Protocol):
    """What is changed. Each method does all or nothing, and may be repeated."""

    async def attempt(self, number: int, wanted: Any, undo: Any, trial_s: int) -> None:
        """Do it, for `trial_s` seconds or until `settle` or `go_back`. Raises a CallError."""

    async def settle(self, number: int, wanted: Any) -> None:
        """Make it lasting. Raises a CallError."""

    async def go_back(self, undo: Any) -> None:
        """Undo it. Raises a CallError."""


class ChangingComponent(Change, Protocol):
    """What a component has that tries changes, besides the change itself."""

    @property
    def db(self) -> Any: ...
    @property
    def log(self) -> logging.Logger: ...
    def spawn(self, work: Callable[[], Any], *, name: str, restart: bool) -> object: ...
    def publish(self, topic: str, value: object) -> None: ...
    def set_status(self, text: str) -> None: ...


class ChangeTrial:
    """The trials of one component, one after the other."""

    def __init__(self, component: ChangingComponent, clock: Callable[[], float] = time.monotonic) -> None:
        self._component = self._change = component
        self._database = component.db
        self._spawn = component.spawn
        self._clock = clock
        self._lock = asyncio.Lock()
        self._number = 0  # of the trial; 0: there is none
        self._deadline = 0.0
        self._until: asyncio.Event = asyncio.Event()

    async def start(self) -> None:
        """Undo a trial in which this component has died, again and again until that is done."""
        for row in await self._database.read("select * from revisions where state = ?", TRYING):
            self._number, self._deadline = int(row["number"]), self._clock()
            self._spawn(self._run_out, name="undoes the trial of before", restart=False)

    @property
    def number(self) -> int:
        """Return the number of the revision on trial, 0 if there is none."""
        return self._number

    @property
    def left_s(self) -> float | None:
        """Return the seconds that it has left; None if there is no trial."""
        return max(0.0, self._deadline - self._clock()) if self._number else None

    async def begin(self, caller: str, wanted: Any, before: Callable[[], Awaitable[Any]], trial_s: int) -> int:
        """Do a change on trial; return the number of its revision. Raises Busy, and what `attempt` raises.

        `before` returns what undoes it: it is asked when no other trial can end any more.
        """
        async with self._lock:
            if self._number:
                raise Busy(f"revision {self._number} waits to be confirmed: `confirm` or `undo` it first")
            undo = await before()
            values = caller, time.time(), TRYING, json.dumps(wanted), json.dumps(undo)
            added = await self._database.execute(
                "insert into revisions (caller, at, state, wanted, undo) values (?, ?, ?, ?, ?)", *values
            )
            number = int(added.last_id)
            await self._database.execute(_FORGET, number - KEPT, LOADED, TRYING)
            self._number, self._deadline = number, self._clock() + trial_s
            self._until.clear()
            try:
                await self._change.attempt(number, wanted, undo, trial_s)
            except CallError as error:
                await self._undo_failed(number, str(error))
                raise Failed(f"nothing is changed: {error}") from None
            except BaseException:  # its caller has gone
                self._deadline = self._clock()
                self._spawn(self._run_out, name="undoes a change that failed", restart=False)
                raise
            self._deadline = self._clock() + trial_s
            self._spawn(self._run_out, name=f"trial {number}", restart=False)
            self._tell(number, TRYING, caller)
            return number

    async def confirm(self, number: int, caller: str) -> None:
        """Keep a revision. Raises NotFound for one that is not on trial any more."""
        async with self._lock:
            self._expect(number)
            if not self.left_s:
                raise NotFound(f"revision {number} was not confirmed in time, and is undone: apply it again")
            wanted = await self._read(number, "wanted")
            await self._change.settle(number, wanted)
            await self._close(number, LOADED, caller)

    async def undo(self, number: int, caller: str) -> None:
        """Undo a revision before its time is over. Raises NotFound for one that is not on trial any more."""
        async with self._lock:
            self._expect(number)
            await self._go_back(number, f"undone by {caller}")

    async def facts(self) -> dict[str, Any]:
        """Return what status says of it: {revision, by, at, trial, trial_left_s}; None for what there is not."""
        last, left = await self.last() or {}, self.left_s
        return {
            "revision": last.get("number"), "by": last.get("caller"), "at": last.get("at"),
            "trial": self._number or None, "trial_left_s": None if left is None else round(left, 1),
        }  # fmt: skip

    async def last(self) -> dict[str, Any] | None:
        """Return the revision that was confirmed last: number, caller, at, wanted."""
        rows = await self._database.read("select * from revisions where state = ? order by number desc limit 1", LOADED)
        return {**dict(rows[0]), "wanted": json.loads(rows[0]["wanted"])} if rows else None

    async def forget(self, caller: str) -> None:
        """Have no revision loaded any more."""
        async with self._lock:
            await self._database.execute(
                "update revisions set state = ?, why = ? where state = ?", UNDONE, f"removed by {caller}", LOADED
            )

    async def revisions(self) -> list[dict[str, Any]]:
        """Return what there was, the newest first."""
        rows = await self._database.read(
            "select number, caller, at, state, why from revisions order by number desc limit ?", KEPT
        )
        return [dict(row) for row in rows]

    def _expect(self, number: int) -> None:
        if number != self._number:
            now = f"revision {self._number} is" if self._number else "none is"
            raise NotFound(f"revision {number} is not on trial; {now}: see `revisions`")

    async def _read(self, number: int, column: str) -> Any:
        rows = await self._database.read("select wanted, undo from revisions where number = ?", number)
        return json.loads(rows[0][column])

    async def _run_out(self) -> None:
        """Undo the trial when its time is over; again and again, if that fails."""
        number = self._number
        while self._number == number:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._until.wait(), max(0.0, self._deadline - self._clock()))
            async with self._lock:
                if self._number != number:
                    return
                try:
                    await self._go_back(number, "not confirmed in time")
                except Exception as error:  # whatever it is: it must be undone
                    self._tell(number, "stuck", str(error) or type(error).__name__)
                    self._deadline = self._clock() + AGAIN_S

    async def _undo_failed(self, number: int, why: str) -> None:
        """Undo what a change that failed has done of it; later, if that fails too."""
        try:
            await self._go_back(number, f"failed: {why}")
        except CallError as error:
            self._deadline = self._clock() + AGAIN_S
            self._spawn(self._run_out, name="undoes a change that failed", restart=False)
            raise Failed(
                f"it failed, and cannot be undone yet, which is tried every {AGAIN_S:g} s: {why}; {error}"
            ) from None

    async def _go_back(self, number: int, why: str) -> None:
        await self._change.go_back(await self._read(number, "undo"))
        await self._close(number, UNDONE, why)

    async def _close(self, number: int, state: str, why: str) -> None:
        if state == LOADED:
            await self._database.execute(
                "update revisions set state = 'replaced' where state = ? and number < ?", LOADED, number
            )
        await self._database.execute("update revisions set state = ?, why = ? where number = ?", state, why, number)
        self._number = 0
        self._until.set()
        self._tell(number, state, why)

    def _tell(self, number: int, state: str, why: str) -> None:
        component = self._component
        component.log.info("revision %d: %s (%s)", number, state, why)
        component.publish("changed", {"revision": number, "state": state, "why": why})
        waits = f"revision {number} waits for `confirm`"
        component.set_status(waits if state == TRYING else f"revision {number} {state}")
