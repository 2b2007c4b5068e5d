"""When a loop beats: with the feed where there is one, and never faster or much slower than promised."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tlsrt.loops.runtime.heartbeat import BEAT_S, EARLY_S, LATEST_S, Heartbeat


@dataclass
class Clock:
    """An event loop of one timer, whose time we make."""

    now: float = 100.0
    timers: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    beats: list[tuple[float, int]] = field(default_factory=list)
    wakes: int = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Any:
        self.timers = [(when, callback)]
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def pass_until(self, end: float, feed: Callable[[], None] | None = None, feeds: tuple[float, ...] = ()) -> None:
        for when in (*feeds, end):
            while self.timers and self.timers[0][0] <= when:
                due, callback = self.timers.pop()
                self.now = max(self.now, due)
                self.wakes += 1
                callback()
            self.now = max(self.now, when)
            if feed is not None and when in feeds:
                self.wakes += 1
                feed()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    return clock


def make(clock: Clock) -> Heartbeat:
    life: Any = None

    def each(now: float) -> None:
        clock.beats.append((now, heart._late_us))

    heart = Heartbeat("third", life, each)
    heart.start()
    return heart


def test_without_a_feed_it_beats_by_itself(clock: Clock) -> None:
    make(clock)
    clock.pass_until(100.0 + 10 * LATEST_S + 0.001)
    assert [round(when - 100.0, 6) for when, _ in clock.beats] == [round(LATEST_S * n, 6) for n in range(1, 11)]
    assert {late for _, late in clock.beats} == {0}


@pytest.mark.parametrize("phase", [0.0, 0.01, 0.1, 0.25, 0.4, 0.499])
def test_after_a_while_every_beat_goes_along_with_a_feed_in_one_wake_up(clock: Clock, phase: float) -> None:
    heart = make(clock)
    feeds = tuple(100.0 + phase + BEAT_S * number for number in range(1, 61))
    clock.pass_until(feeds[-1] + 0.001, heart.go_along, feeds)
    assert all(
        BEAT_S - EARLY_S < b - a <= LATEST_S + 1e-6
        for (a, _), (b, _) in zip(clock.beats, clock.beats[1:], strict=False)
    )
    assert [when for when, _ in clock.beats[-30:]] == [pytest.approx(when) for when in feeds[-30:]]
    wakes = clock.wakes
    more = tuple(feeds[-1] + BEAT_S * number for number in range(1, 11))
    clock.pass_until(more[-1] + 0.001, heart.go_along, more)
    assert clock.wakes - wakes == 10


def test_who_is_woken_again_and_again_beats_no_faster(clock: Clock) -> None:
    heart = make(clock)
    feeds = tuple(100.0 + number / 100 for number in range(1, 1000))
    clock.pass_until(feeds[-1] + 0.001, heart.go_along, feeds)
    assert all(b - a > BEAT_S - EARLY_S for (a, _), (b, _) in zip(clock.beats, clock.beats[1:], strict=False))


def test_a_late_beat_says_how_late_it_is(clock: Clock) -> None:
    make(clock)
    due, callback = clock.timers.pop()
    clock.now = due + 0.25
    callback()
    ((when, late_us),) = clock.beats
    assert when == due + 0.25
    assert abs(late_us - 250_000) <= 1
    assert clock.timers[0][0] == pytest.approx(due + 0.25 + LATEST_S)
