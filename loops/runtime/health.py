"""Two checks of the components of a loop: `healthy` at configured intervals, `ready` at every beat.

All of it happens on the beat of the event loop, so that an idle loop wakes up no more often for it: a check that is due
begins there, right after the beat has left, and one that has not ended in time is noticed there, half a second late at
most. No component is asked again before its last check has ended, whatever that takes. A check that is no coroutine,
or blocks, holds up the event loop like any other code of the component, and the loop then hangs like any other.

What `healthy` says goes to the supervisor, which restarts the process after some failures. What `ready` says decides
here whether requests run: a component that is not ready answers them `away`, which says that they have not run.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from tlsrt.channels.control.health import HealthOutcome
from tlsrt.config.components import HealthConfig
from tlsrt.loops.component.component import Component, kept_programs_of
from tlsrt.loops.runtime.component_host import ComponentHost

_WORDS_MAX = 300
READY_EVERY_S = 0.4  # less than a beat: at each


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

    def next_look(self, now: float) -> float:
        """Return when there is something to do for it: now, while a check is in flight."""
        return now if self._began is not None else self._due

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


class _Check:
    """One check of one component; `note` hears each outcome, with what is wrong in words and how often in a row."""

    def __init__(
        self,
        name: str,
        ask: Callable[[], object],
        config: HealthConfig,
        note: Callable[[HealthOutcome, str, int], None],
    ) -> None:
        self._name = name
        self._ask = ask
        self._note = note
        self._schedule = Schedule(config)
        self._task: asyncio.Task[Any] | None = None

    def each_beat(self, now: float) -> None:
        """Begin it if it is due, and give it up if it takes too long."""
        if self._schedule.is_late(now):
            if self._task is not None:
                self._task.cancel()
            self._note(HealthOutcome.TIMED_OUT, "it said nothing in time", self._schedule.fails)
        elif self._schedule.begins(now):
            self._begin()

    def next_look(self, now: float) -> float:
        """Return when there is something to do for it."""
        return self._schedule.next_look(now)

    def _begin(self) -> None:
        try:
            answer = self._ask()
            if inspect.isawaitable(answer):
                self._task = asyncio.get_running_loop().create_task(self._wait(answer))
                return
            trouble = self._trouble(answer)
        except Exception as error:  # a component may raise anything
            trouble = _words_of(error)
        self._end(trouble)

    async def _wait(self, answer: Awaitable[object]) -> None:
        try:
            trouble = self._trouble(await answer)
        except Exception as error:
            trouble = _words_of(error)
        except asyncio.CancelledError:
            trouble = "cancelled"
        self._task = None
        self._end(trouble)

    def _trouble(self, answer: object) -> str:
        """Return what is wrong in words, an empty text for nothing."""
        if answer is None or answer is True:
            return ""
        if answer is False:
            return f"`{self._name}` said no"
        if isinstance(answer, str):
            return answer[:_WORDS_MAX]
        return f"`{self._name}` returned {type(answer).__name__}, not a text"

    def _end(self, trouble: str) -> None:
        if self._schedule.end(is_good=not trouble):
            self._note(HealthOutcome.FAILED if trouble else HealthOutcome.GOOD, trouble, self._schedule.fails)


class _Readiness:
    """Whether one component is ready; it is not before it has said so."""

    def __init__(self, host: ComponentHost) -> None:
        self._host = host
        self._words: str | None = None
        host.note_ready(False)

    def note(self, outcome: HealthOutcome, trouble: str, fails: int) -> None:
        if trouble != self._words:
            self._host.component.log.info("not ready: %s" if trouble else "ready%s", trouble)
        self._words = trouble
        self._host.note_ready(not trouble)


def _ready(component: Component) -> object:
    """Ask a component whether it is ready, if all programs run that it keeps running."""
    trouble = next((kept.trouble for kept in kept_programs_of(component) if kept.trouble), "")
    return trouble or component.ready()


class HealthChecks:
    """Asks those components of a loop that have something to say.

    `reports` holds the last (index, outcome, fails in a row) of each that has not been sent, the oldest first.
    """

    def __init__(self, hosts: Iterable[ComponentHost]) -> None:
        self.reports: dict[int, tuple[int, int, int]] = {}
        self._checks: list[_Check] = []
        self._ready: list[_Check] = []
        for index, host in enumerate(hosts):
            component, config = host.component, host.config.health
            keeps = any(program.is_kept for program in host.config.programs)
            if keeps or type(component).ready is not Component.ready:
                often = HealthConfig(every_s=READY_EVERY_S, timeout_s=config.timeout_s)
                self._ready.append(_Check("ready", partial(_ready, component), often, _Readiness(host).note))
            if type(component).healthy is not Component.healthy:
                self._checks.append(_Check("healthy", component.healthy, config, self._note_of(index, host)))

    def begin(self, now: float) -> None:
        """Ask those that have just started whether they are ready, rather than with the next beat."""
        for check in self._ready:
            check.each_beat(now)

    def each_beat(self, now: float) -> None:
        """Begin the checks that are due, and give up those that take too long. `now` is the event loop's time."""
        for check in (*self._ready, *self._checks):
            check.each_beat(now)

    def next_look(self, now: float) -> float:
        """Return when there is something to do: now, while a report waits to be sent; never, without a check."""
        if self.reports:
            return now
        return min((check.next_look(now) for check in (*self._ready, *self._checks)), default=math.inf)

    def _note_of(self, index: int, host: ComponentHost) -> Callable[[HealthOutcome, str, int], None]:
        log, before = host.component.log, [0]

        def note(outcome: HealthOutcome, trouble: str, fails: int) -> None:
            if trouble:
                log.warning("not healthy (%d in a row): %s", fails, trouble)
            elif before[0]:
                log.info("healthy again after %d failures", before[0])
            before[0] = fails
            self.reports[index] = (index, int(outcome), fails)

        return note


def _words_of(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_WORDS_MAX]
    except Exception:  # its own text fails
        return type(error).__name__
