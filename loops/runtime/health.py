"""Health checks of the components of a loop: `Component.check`, at configured intervals.

All of it happens on the beat of the event loop, so that an idle loop wakes up no more often for it: a check that is due
begins there, right after the beat has left, and one that has not ended in time is noticed there, half a second late at
most. No component is asked again before its last check has ended, whatever that takes. A check that is no coroutine,
or blocks, holds up the event loop like any other code of the component, and the loop then hangs like any other.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Iterable
from typing import Any

from tlsrt.channels.control.health import HealthOutcome
from tlsrt.config.components import HealthConfig
from tlsrt.loops.component.component import Component
from tlsrt.loops.runtime.component_host import ComponentHost

_WORDS_MAX = 300


class Schedule:
    """When one component is asked, and how often in a row it was not well. Pure: seconds of any clock come in."""

    def __init__(self, config: HealthConfig) -> None:
        self._config = config
        self._due = 0.0
        self._judged = True  # the check that began last; True: there is none in flight that still counts
        self._began: float | None = None
        self.fails = 0

    @property
    def is_running(self) -> bool:
        return self._began is not None

    def begins(self, now: float) -> bool:
        """Tell whether a check begins now; then it is in flight until `end`."""
        if self._began is not None or now < self._due:
            return False
        self._began, self._judged, self._due = now, False, now + self._config.every_s
        return True

    def is_late(self, now: float) -> bool:
        """Tell whether the check in flight has failed by taking too long: once, and again whenever one would be due."""
        if self._began is None or now < (self._due if self._judged else self._began + self._config.timeout_s):
            return False
        if now >= self._due:
            self._due = now + self._config.every_s
        self._judged = True
        self.fails += 1
        return True

    def end(self, *, is_good: bool) -> bool:
        """The check in flight is over; tell whether that is news, or it has been late already."""
        self._began = None
        if self._judged:
            return False
        self._judged = True
        self.fails = 0 if is_good else self.fails + 1
        return True


class _CheckedComponent:
    """One component that has a `check` of its own."""

    def __init__(self, index: int, host: ComponentHost) -> None:
        self.index = index
        self.component = host.component
        self.schedule = Schedule(host.config.health)
        self.task: asyncio.Task[Any] | None = None


class HealthChecks:
    """Asks those components of a loop that have something to say.

    `reports` holds the last (index, outcome, fails in a row) of each that has not been sent, the oldest first.
    """

    def __init__(self, hosts: Iterable[ComponentHost]) -> None:
        self._components = [
            _CheckedComponent(index, host)
            for index, host in enumerate(hosts)
            if type(host.component).check is not Component.check
        ]
        self.reports: dict[int, tuple[int, int, int]] = {}

    def each_beat(self, now: float) -> None:
        """Begin the checks that are due, and give up those that take too long. `now` is the event loop's time."""
        for checked in self._components:
            if checked.schedule.is_late(now):
                if checked.task is not None:
                    checked.task.cancel()
                self._note(checked, HealthOutcome.TIMED_OUT, "it said nothing in time")
            elif checked.schedule.begins(now):
                self._ask(checked)

    def _ask(self, checked: _CheckedComponent) -> None:
        try:
            answer = checked.component.check()
            if inspect.isawaitable(answer):
                checked.task = asyncio.get_running_loop().create_task(self._wait(checked, answer))
                return
            trouble = _trouble(answer)
        except Exception as error:  # a component may raise anything
            trouble = _words_of(error)
        self._end(checked, trouble)

    async def _wait(self, checked: _CheckedComponent, answer: Awaitable[object]) -> None:
        try:
            trouble = _trouble(await answer)
        except Exception as error:
            trouble = _words_of(error)
        except asyncio.CancelledError:
            trouble = "cancelled"
        checked.task = None
        self._end(checked, trouble)

    def _end(self, checked: _CheckedComponent, trouble: str) -> None:
        before = checked.schedule.fails
        if not checked.schedule.end(is_good=not trouble):
            return
        if not trouble and before:
            checked.component.log.info("check: well again after %d failures", before)
        self._note(checked, HealthOutcome.FAILED if trouble else HealthOutcome.GOOD, trouble)

    def _note(self, checked: _CheckedComponent, outcome: HealthOutcome, trouble: str) -> None:
        fails = checked.schedule.fails
        if trouble:
            checked.component.log.warning("check failed (%d in a row): %s", fails, trouble)
        self.reports[checked.index] = (checked.index, int(outcome), fails)


def _trouble(answer: object) -> str:
    """Return what is wrong in words, an empty text for nothing."""
    if answer is None or answer is True:
        return ""
    if answer is False:
        return "it is not well"
    return answer[:_WORDS_MAX] if isinstance(answer, str) else f"check returned {type(answer).__name__}, not a text"


def _words_of(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_WORDS_MAX]
    except Exception:  # its own text fails
        return type(error).__name__
