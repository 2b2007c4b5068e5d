"""When a loop beats: with the feed where there is one, and never faster or much slower than promised."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tlsrt.channels.event_loop import EventLoop
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


class Turning:
    """A heartbeat at rest on a real event loop, that has nothing to look at until a test says so."""

    def __init__(self) -> None:
        self.loop = EventLoop()
        self.look = math.inf
        self.asked = 0
        self.beaten_at = 0.0
        life: Any = None
        self.heart = Heartbeat("third", life, self._beat)
        self.run_soon(self._rest)

    def _rest(self) -> None:
        self.heart.start()
        self.heart.rest_until(self._look)

    def _look(self, now: float) -> float:
        self.asked += 1
        return self.look

    def _beat(self, now: float) -> None:
        self.beaten_at = now
        self.loop.stop()

    def run_soon(self, call: Callable[[], object]) -> None:
        self.loop.call_soon(call)
        self.loop.call_later(0.001, self.loop.stop)
        self.loop.run_forever()

    def until_beat(self) -> None:
        end = self.loop.call_later(20.0, self.loop.stop)
        self.loop.run_forever()
        end.cancel()
        assert self.beaten_at, "no beat within 20 s"


@pytest.fixture
def turning() -> Iterator[Turning]:
    turning = Turning()
    yield turning
    turning.loop.close()


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


def test_one_that_rests_beats_when_it_has_something_to_look_at_and_before_that_if_it_is_asked(clock: Clock) -> None:
    heart = make(clock)
    heart.rest_until(lambda now: 130.0)
    clock.pass_until(129.0)
    assert clock.beats == []
    clock.pass_until(130.0)
    assert clock.beats == [(130.0, 0)]
    heart.rest_until(lambda now: math.inf)
    clock.pass_until(500.0)
    assert len(clock.beats) == 1
    heart.beat_now()
    heart.go_on()
    clock.pass_until(500.0 + LATEST_S)
    assert [when for when, _ in clock.beats] == [130.0, 500.0, 500.0 + LATEST_S]


def test_when_it_has_something_to_look_at_is_found_anew_before_each_sleep(turning: Turning) -> None:
    def later_turn() -> None:
        turning.look = turning.loop.time() + 0.05

    turning.loop.call_later(0.02, later_turn)
    turning.loop.call_later(0.03, lambda: None)
    turning.until_beat()
    assert turning.look <= turning.beaten_at < turning.look + 5.0


def test_what_is_to_be_looked_at_at_once_makes_no_late_beat(turning: Turning) -> None:
    def past() -> None:
        turning.look = turning.loop.time() - 100.0

    turning.loop.call_soon(past)
    turning.until_beat()
    assert turning.heart._late_us < 5_000_000


def test_one_that_rests_no_more_is_not_asked_before_its_sleep(turning: Turning) -> None:
    turning.run_soon(turning.heart.go_on)
    asked = turning.asked
    turning.run_soon(lambda: None)
    turning.run_soon(lambda: None)
    assert turning.asked == asked


def test_one_at_rest_with_news_at_each_turn_beats_no_faster_than_others() -> None:
    """A process with work of threads fifty times a second has something new fifty times a second."""
    loop = EventLoop()
    beats: list[float] = []
    life: Any = None

    def each(now: float) -> None:
        beats.append(now)
        heart.rest_until(lambda now: now)

    heart = Heartbeat("third", life, each)

    def turn() -> None:
        loop.call_later(0.002, turn)

    try:
        loop.call_soon(heart.start)
        loop.call_soon(heart.rest_until, lambda now: now)
        loop.call_soon(turn)
        loop.call_later(1.8, loop.stop)
        loop.run_forever()
    finally:
        loop.close()
    assert 3 <= len(beats) <= 5 and all(b - a > BEAT_S - EARLY_S for a, b in itertools.pairwise(beats)), beats
