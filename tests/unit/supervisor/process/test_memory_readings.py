"""Memory of processes is read at most once a second, and anew after that."""

from __future__ import annotations

from itertools import count

from tlsrt.supervisor.process.proc import FRESH_S, MemoryReadings


def test_a_process_is_read_once_for_all_who_ask_within_a_second() -> None:
    numbers = count(1)
    readings = MemoryReadings(lambda pid: next(numbers))
    assert [readings.of(7, now) for now in (0.0, FRESH_S / 2, FRESH_S - 0.01)] == [1, 1, 1]
    assert readings.of(8, 0.5) == 2, "another one has its own"
    assert readings.of(7, FRESH_S) == 3


def test_who_has_ended_is_forgotten() -> None:
    readings = MemoryReadings(lambda pid: None if pid == 9 else pid)
    for number in range(1000):
        assert readings.of(number, float(number)) == (None if number == 9 else number)
    assert len(readings._known) == 1
