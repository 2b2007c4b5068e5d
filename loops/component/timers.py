"""Timers of a component: `@every` and `@at` on a method, as data for the runtime. Pure.

A timer's method is async and takes nothing. Its due times are kept by timetable.py, and the runtime runs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from tlsrt.cron import Cron, parse_cron
from tlsrt.errors import MisuseError
from tlsrt.text import parse_duration

Function = TypeVar("Function", bound=Callable[..., Any])
Missed = Literal["once", "skip"]

MARK = "__tlsrt_timer__"
LEAST_S = 0.01
MOST_S = 365 * 86_400.0
KEPT_FROM_S = 60.0  # a shorter period has no due time on the disk: it begins anew with each process


@dataclass(frozen=True, slots=True)
class Every:
    """A period, by how much at most each run may be late by chance, in seconds, and what tells that a run can wait."""

    period_s: float
    jitter_s: float
    idle_s: Callable[[Any], float] | None = None  # of the component

    @property
    def spec(self) -> str:
        """Return what a due time on the disk belongs to."""
        return f"every {self.period_s:g}"

    @property
    def is_kept(self) -> bool:
        """Tell whether its due time is on the disk."""
        return self.period_s >= KEPT_FROM_S


@dataclass(frozen=True, slots=True)
class At:
    """A time of day, and what follows if the component did not run then."""

    cron: Cron
    missed: Missed

    @property
    def spec(self) -> str:
        """Return what a due time on the disk belongs to."""
        return f"at {self.cron.text}"

    @property
    def is_kept(self) -> bool:
        """Tell whether its due time is on the disk."""
        return True


Timer = Every | At


def every(
    period: str | float, *, jitter: str | float = 0.0, idle_s: Callable[[Any], float] | None = None
) -> Callable[[Function], Function]:
    """Run a method again and again: `@every("5s")`, `@every("10m", jitter="1m")`; numbers are seconds.

    The first run is one period after the start, or when the last process would have had it, for periods of a minute
    and more. Each is later by up to `jitter`. One that is due while the last still runs is left out, and that is told.

    With `idle_s`, a function of the component, a run that is due waits for as many seconds as that returns, or for ever
    (`math.inf`). It is asked again with every beat of the process and, while that sleeps, whenever something has run in
    it: so it has to be quick. A process with short periods and nothing to do sleeps.

        @every("5s")
        async def poll(self) -> None: ...


        @every("1s", idle_s=lambda self: self.next_end - time.time())
        async def end_what_is_over(self) -> None: ...
    """
    period_s = _seconds("period", period, LEAST_S)
    jitter_s = _seconds("jitter", jitter, 0.0) if jitter else 0.0
    if jitter_s > period_s:
        raise MisuseError(f"cannot have a jitter of {jitter} in a period of {period}: make it shorter")
    if idle_s is not None and (not callable(idle_s) or inspect.iscoroutinefunction(idle_s)):
        raise MisuseError(f"cannot take idle_s={idle_s!r}: give a function of the component that is not async")
    return _marked(Every(period_s, jitter_s, idle_s))


def at(time: str, *, missed: Missed = "once") -> Callable[[Function], Function]:
    """Run a method at times of day as cron(8) has them, in the time zone of the host: `@at("30 3 * * *")`.

    What is due is on the disk before a run begins, so it runs at most once, whatever dies meanwhile. A time that has
    passed while the component did not run is made up for once after the start, or not at all with `missed="skip"`.

        @at("30 3 * * *")
        async def tidy(self) -> None: ...
    """
    if missed not in ("once", "skip"):
        raise MisuseError(f"cannot take missed={missed!r}: write 'once' or 'skip'")
    return _marked(At(parse_cron(time), missed))


def timers_of(kind: type) -> dict[str, Timer]:
    """Return the timers of a class by the names of their methods, inherited ones too."""
    found: dict[str, Timer] = {}
    for name in dir(kind):
        timer = getattr(inspect.getattr_static(kind, name), MARK, None)
        if isinstance(timer, (Every, At)):
            found[name] = timer
    return found


def _marked(timer: Timer) -> Callable[[Function], Function]:
    def mark(function: Function) -> Function:
        name = getattr(function, "__qualname__", repr(function))
        if not inspect.iscoroutinefunction(function):
            raise MisuseError(f"cannot run {name} by a timer: it is no async method")
        if len(inspect.signature(function).parameters) != 1:
            raise MisuseError(f"cannot run {name} by a timer: it takes more than self")
        if getattr(function, MARK, None) is not None:
            raise MisuseError(f"cannot run {name} by two timers: give each a method of its own")
        setattr(function, MARK, timer)
        return function

    return mark


def period_s(what: str, value: str | float) -> float:
    """Return a duration in seconds, as timers read it. Raises MisuseError."""
    return _seconds(what, value, LEAST_S)


def _seconds(what: str, value: str | float, least_s: float) -> float:
    try:
        text = value if isinstance(value, str) else f"{value:.3f}"
        if isinstance(value, str) and value.endswith("ms"):
            seconds = float(parse_duration(value[:-2] + "s", most_s=MOST_S * 1000)) / 1000
            if seconds < least_s:
                raise ValueError(f'invalid duration "{value}": use at least {LEAST_S * 1000:g}ms')
            return seconds
        return parse_duration(text, least_s=max(least_s, 0.001), most_s=MOST_S, has_default_unit=True)
    except ValueError as error:
        raise MisuseError(f"cannot read the {what} of a timer: {error}") from None
