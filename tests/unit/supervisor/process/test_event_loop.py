"""The epoll loop: order, timers, signals, and descriptors that change hands within a round."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tlsrt.supervisor.process.event_loop import EventLoop


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def event_loop(clock: Clock) -> Iterator[EventLoop]:
    made = EventLoop(clock)
    yield made
    made.close()


def pipe() -> tuple[int, int]:
    return os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)


def test_what_was_said_is_heard_before_a_timer_judges(event_loop: EventLoop, clock: Clock) -> None:
    order: list[str] = []
    reading, writing = pipe()
    event_loop.watch(reading, lambda events: order.append("heard"))
    event_loop.call_later(1.0, lambda: order.append("judged"))
    os.write(writing, b"x")
    clock.now += 2.0
    event_loop.run_once()
    assert order == ["heard", "judged"]
    os.close(reading)
    os.close(writing)


def test_an_event_of_a_descriptor_that_was_given_out_again_is_dropped(event_loop: EventLoop) -> None:
    first, second = pipe(), pipe()
    wrong: list[int] = []
    seen: list[int] = []

    def replace(other: int) -> None:
        """Whoever of the two comes first takes the other one's number for something new."""
        seen.append(other)
        event_loop.forget(other)
        event_loop.watch(other, wrong.append)

    event_loop.watch(first[0], lambda events: replace(second[0]))
    event_loop.watch(second[0], lambda events: replace(first[0]))
    os.write(first[1], b"x")
    os.write(second[1], b"x")
    event_loop.run_once()
    assert len(seen) == 1
    assert wrong == []
    for descriptor in (*first, *second):
        event_loop.forget(descriptor)
        os.close(descriptor)


def test_timers_run_in_order_once_and_not_when_cancelled(event_loop: EventLoop, clock: Clock) -> None:
    order: list[str] = []
    event_loop.call_later(2.0, lambda: order.append("second"))
    event_loop.call_later(1.0, lambda: order.append("first"))
    cancelled = event_loop.call_later(1.5, lambda: order.append("never"))
    cancelled.cancel()
    cancelled.cancel()
    clock.now += 1.0
    event_loop.run_once()
    assert order == ["first"]
    clock.now += 1.0
    event_loop.run_once()
    assert order == ["first", "second"]


@pytest.mark.parametrize(("passed", "delay"), [(0.0, 0.5), (0.1, 0.4), (0.374, 0.126), (0.499, 0.501)])
def test_a_period_ends_when_it_does_for_every_process_of_the_host(
    event_loop: EventLoop, clock: Clock, monkeypatch: pytest.MonkeyPatch, passed: float, delay: float
) -> None:
    """And one that is about to end is not taken for two, when a timer was a moment early."""
    monkeypatch.setattr(time, "clock_gettime", lambda which: 7000.0 + passed)
    event_loop.call_next(0.5, lambda: None)
    assert event_loop._timeout() == pytest.approx(delay)


def test_timers_of_one_moment_keep_their_order(event_loop: EventLoop, clock: Clock) -> None:
    order: list[int] = []
    for number in range(5):
        event_loop.call_later(1.0, lambda number=number: order.append(number))  # type: ignore[misc]
    clock.now += 1.0
    event_loop.run_once()
    assert order == [0, 1, 2, 3, 4]


def test_a_signal_becomes_a_call_and_its_handler_is_given_back() -> None:
    event_loop = EventLoop()
    seen: list[str] = []
    event_loop.take_signals({signal.SIGUSR1: lambda: seen.append("usr1")})
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR1)
    while not seen:
        event_loop.run_once()
    assert set(seen) == {"usr1"}
    event_loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


def test_forgetting_what_is_not_watched_is_fine(event_loop: EventLoop) -> None:
    event_loop.forget(12345)
