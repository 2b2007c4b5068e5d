"""Who was killed and does not end: when it is said, how often, and that a new process of that name is another one."""

from __future__ import annotations

import os

from tlsrt.supervisor.process.spawn import SpawnedChild
from tlsrt.supervisor.process.unkillable import (
    PATIENCE_S,
    KilledProcess,
    UnkillableProcess,
    UnkillableProcesses,
    waits_in,
)

OLD, NEW = SpawnedChild(2, 11, 1002), SpawnedChild(3, 12, 1003)


def test_one_that_stays_is_told_once_and_shown_until_it_is_gone() -> None:
    said: list[str] = []
    stuck = UnkillableProcesses(lambda name, sentence: said.append(f"{name} {sentence}"), lambda pid: f"D of {pid}")
    stuck.look([KilledProcess("third", OLD)], 10.0)
    stuck.look([KilledProcess("third", OLD)], 10.0 + PATIENCE_S / 2)
    assert not said and stuck.of("third") is None
    for number in range(5):
        stuck.look([KilledProcess("third", OLD)], 10.0 + PATIENCE_S + number)
    assert said == ["third D of 1002"]
    assert stuck.of("third") == UnkillableProcess(10.0, "D of 1002")
    stuck.look([], 20.0)
    assert stuck.of("third") is None


def test_the_next_process_of_that_name_begins_anew() -> None:
    said: list[str] = []
    stuck = UnkillableProcesses(lambda name, sentence: said.append(name), lambda pid: "D")
    stuck.look([KilledProcess("third", OLD)], 0.0)
    stuck.look([KilledProcess("third", OLD)], PATIENCE_S)
    stuck.look([KilledProcess("third", NEW)], PATIENCE_S + 0.1)
    assert said == ["third"] and stuck.of("third") is None
    stuck.look([KilledProcess("third", NEW)], 2 * PATIENCE_S + 0.1)
    assert said == ["third", "third"] and stuck.of("third") == UnkillableProcess(PATIENCE_S + 0.1, "D")


def test_where_a_process_waits() -> None:
    assert waits_in(os.getpid())[0] in "RSD"
    assert waits_in(1 << 30) == "?"
