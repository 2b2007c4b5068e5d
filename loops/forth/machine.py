"""The sleep and the end of the machine: they wait until this host is ready for them, and it wakes at a time.

It holds a lock of logind that delays both. Before the machine ends, it has the runtime end the host in order, for which
it has a right (`needs: runtime`); its own process ends last, and with it the lock. Before the machine sleeps, others
have a time to do something: they hear `sleep`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tlsrt import Busy, CallError, Component, ConfigError, Denied, Length, MisuseError, Range, handler
from tlsrt.loops.forth.wake_alarm import MOST_S, WakeAlarm

try:
    from tlsrt.loops.forth.end_lock import EndLock
except ImportError:  # without the extra `dbus`
    EndLock = None  # type: ignore[assignment,misc]

SPARE = 0.8  # of logind's delay is ours: the rest is for what ends after the last process
LEAST_S = 1.0
AGAIN_S = 0.25


class Machine(Component):
    """The machine that this host runs on: its end and sleep, and when it wakes."""

    @dataclass(frozen=True)
    class Options:
        """How long it delays."""

        sleep_s: Annotated[float, Range(0, 30), "Seconds that others have before the machine sleeps."] = 1.0
        bus: Annotated[str, Length(200), "The address of another bus than the system's."] = ""

    topics = {  # noqa: RUF012
        "sleep": "the machine is about to sleep (phase: before, within_s), or it woke or did not sleep (phase: after)",
        "ending": "the machine ends or starts anew, and this host stops now: within_s",
    }
    sys = Path("/sys")

    async def start(self) -> None:
        if EndLock is None:
            raise ConfigError("it needs dbus-fast: pip install 'tlsrt[dbus]', then start it again")
        self._prepares: str | None = None
        self._problem: str | None = None
        self._lock = EndLock(self.options.bus)
        self._alarm = WakeAlarm(self.sys, self.set)
        self.spawn(self._lock.keep, name="stays on the bus")
        self.spawn(self._watch, name="hears of the machine")

    def healthy(self) -> str | None:
        return self._problem

    async def _watch(self) -> None:
        while True:
            await self._lock.changed.wait()
            self._lock.changed.clear()
            try:
                said = await self._lock.prepares()
            except CallError as error:
                self.log.warning("logind does not say what it prepares: %s", error)
                continue  # it is asked again once the bus is back
            before, self._prepares = self._prepares, said
            if said == before:
                continue
            self.count(f"prepares_{said or 'nothing'}")
            if said is None:
                self.spawn(self._after(before), name="takes the lock again")
            else:
                self.spawn(self._before_sleep() if said == "sleep" else self._before_end(), name=f"prepares for {said}")

    @property
    def _within_s(self) -> float | None:
        """How long what it does may take; None if logind has not said."""
        return None if self._lock.delay_s is None else self._lock.delay_s * SPARE

    async def _before_end(self) -> None:
        within_s = self._within_s
        self.publish("ending", {"within_s": within_s})
        until = time.monotonic() + (within_s or 0)
        while True:
            left = until - time.monotonic()
            try:
                await self.runtime.shutdown(within_s=max(left, LEAST_S) if within_s is not None else None)
            except Busy as error:
                self._problem = str(error)
                if left > AGAIN_S:
                    await asyncio.sleep(AGAIN_S)
                    continue
            except (CallError, MisuseError) as error:
                self._problem = str(error)
            else:
                return  # the lock lasts as long as this process
            self.log.error("the machine ends, and this host was not stopped in order: %s", self._problem)
            self._lock.release()
            return

    async def _before_sleep(self) -> None:
        within_s = self.options.sleep_s if self._within_s is None else min(self.options.sleep_s, self._within_s)
        self.publish("sleep", {"phase": "before", "within_s": within_s})
        await asyncio.sleep(within_s)
        if self._prepares == "sleep":  # else it has been taken again meanwhile
            self._lock.release()

    async def _after(self, what: str | None) -> None:
        if what == "sleep":
            self.publish("sleep", {"phase": "after", "within_s": None})
        while not self._lock.is_held and self._prepares is None:
            try:
                await self._lock.take()
            except CallError as error:
                self._problem = f"the machine's sleep and end are not delayed: {error}"
                await asyncio.sleep(AGAIN_S * 4)
            else:
                self._problem = None

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        """Whether sleep and end are delayed, how long logind waits and how long this host has; what is prepared."""
        return {
            "is_delayed": self._lock.is_held,
            "delay_s": self._lock.delay_s,
            "within_s": self._within_s,
            "prepares": self._prepares,
            "problem": self._problem or self._lock.problem or None,
        }

    @handler(idempotent=True)
    async def wake(self) -> dict[str, Any]:
        """The alarm that wakes the machine: in how many seconds, null if none is set."""
        return {"in_s": self._alarm.left_s()}

    @handler
    async def wake_in(self, in_s: Annotated[int, Range(0, MOST_S)]) -> dict[str, Any]:
        """Have the machine wake in so many seconds, in the place of another alarm; 0 takes the alarm back."""
        try:
            await (self._alarm.set(in_s) if in_s else self._alarm.clear())
        except MisuseError:
            raise Denied(
                "it may set no alarm: grant it the setting `wake` under `needs: settings`, see the guide"
            ) from None
        return {"in_s": self._alarm.left_s()}
