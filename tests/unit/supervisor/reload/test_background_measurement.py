"""Measuring beside the supervisor's loop: whole, or a sentence, and nothing is left of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import msgpack
import psutil
import pytest

from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.reload.background_measurement import BackgroundMeasurement


@pytest.fixture
def event_loop() -> Iterator[EventLoop]:
    event_loop = EventLoop()
    yield event_loop
    event_loop.close()


def measured(event_loop: EventLoop, measure: Callable[[], dict[str, bytes]]) -> bytes | ConfigError:
    results: list[bytes | ConfigError] = []
    before, children = len(os.listdir("/proc/self/fd")), psutil.Process().children()
    BackgroundMeasurement(event_loop, measure, results.append)
    while not results:
        event_loop.run_once()
    assert len(os.listdir("/proc/self/fd")) == before
    assert psutil.Process().children() == children, "it is reaped, and what others have begun here is theirs"
    return results[0]


def test_the_result_crosses_the_pipe_whole(event_loop: EventLoop) -> None:
    entries = {f"file {number}": os.urandom(32) for number in range(5_000)}
    result = measured(event_loop, lambda: entries)
    assert isinstance(result, bytes) and msgpack.unpackb(result) == entries


def test_what_cannot_be_measured_is_said(event_loop: EventLoop) -> None:
    def fail() -> dict[str, bytes]:
        raise ConfigError(["package x is not installed", "y neither"])

    result = measured(event_loop, fail)
    assert isinstance(result, ConfigError) and result.problems == ("package x is not installed", "y neither")


def test_one_that_dies_is_no_measurement(event_loop: EventLoop) -> None:
    result = measured(event_loop, lambda: os._exit(0))
    assert isinstance(result, ConfigError) and "could not be measured" in str(result)


def test_it_holds_nothing_of_the_supervisor(event_loop: EventLoop) -> None:
    result = measured(event_loop, lambda: dict.fromkeys(os.listdir("/proc/self/fd"), b""))
    assert isinstance(result, bytes)
    assert len(msgpack.unpackb(result)) <= 5, "standard streams, the pipe, and the listing itself"


def test_it_is_ended_without_a_word(event_loop: EventLoop) -> None:
    heard: list[object] = []
    reading, writing = os.pipe()
    measurer = BackgroundMeasurement(event_loop, lambda: {"never": os.read(reading, 1)}, heard.append)
    measurer.cancel()
    os.close(reading)
    os.close(writing)
    event_loop.call_later(0, lambda: heard.append("a round later"))
    event_loop.run_once()
    assert heard == ["a round later"]
