from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.supervisor.supervision.disk_waits import DiskWaits


class Said:
    """Console and events, which are no matter here."""

    def __init__(self) -> None:
        self.bad = self.good = self.emit = lambda *arguments: None


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=100.0)


@pytest.fixture
def waits(clock: SimpleNamespace) -> DiskWaits:
    return DiskWaits(cast("Any", SimpleNamespace(event_loop=clock, console=Said(), events=Said())))


def since(waits: DiskWaits, clock: SimpleNamespace) -> float:
    wait = waits.of("third")
    assert wait is not None
    return float(clock.now - wait.since)


def test_a_wait_is_as_long_as_the_silence_that_is_excused_now(waits: DiskWaits, clock: SimpleNamespace) -> None:
    """A process that beat in between has begun another wait, though the one before was not over yet."""
    waits.seen("third", 5.0, "D in folio_wait_bit")
    clock.now += 1.5
    waits.seen("third", 0.25, "D in folio_wait_bit")
    assert since(waits, clock) == 0.25
    clock.now += 1.0
    waits.seen("third", 1.25, "D in jbd2")
    assert since(waits, clock) == 1.25


def test_disk_threads_and_the_event_loop_wait_for_as_long_as_either(waits: DiskWaits, clock: SimpleNamespace) -> None:
    waits.heard_untrusted("third", 4_000)
    clock.now += 1.0
    waits.seen("third", 0.5, "D in folio_wait_bit")
    assert since(waits, clock) == 5.0
    clock.now += 1.0
    waits.heard_untrusted("third", 1_000)
    waits.heard_untrusted("third", 1_000)
    assert since(waits, clock) == 1.0
