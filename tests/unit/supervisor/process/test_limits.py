"""When a limit is told: once, until its process is well below it again. The clock is the test's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsrt.sandbox.cgroup.cgroup import Group, GroupPath
from tlsrt.sandbox.cgroup.limit_usage import LimitUsage, open_descriptors, parse_count
from tlsrt.supervisor.process.limits import AGAIN_S, LimitMonitor

MOST = 100


class Court:
    """Looks, and what was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.watch = LimitMonitor(lambda name, incarnation, kind, sentence: self.told.append(kind))
        self.now = 0.0

    def look(self, descriptors: int = 0, tasks: int = 0, memory: int = 0, incarnation: int = 1) -> list[str]:
        """Look a round later; return what is told of it."""
        self.told.clear()
        self.now += 0.5
        self.watch.look("third", incarnation, LimitUsage(descriptors, MOST, tasks, memory), self.now)
        return list(self.told)


def test_descriptors_are_told_when_all_are_open_and_again_after_a_tenth_was_free() -> None:
    court = Court()
    found = [court.look(count) for count in (MOST - 1, MOST, MOST, 95, MOST, 80, MOST)]
    assert found == [[], ["descriptors"], [], [], [], [], ["descriptors"]]
    assert court.look(MOST, incarnation=2) == ["descriptors"]


def test_what_a_group_refused_is_told_when_it_grows_and_not_more_often_than_every_ten_seconds() -> None:
    court = Court()
    assert court.look(tasks=7, memory=3) == [], "what was before the first look"
    assert court.look(tasks=8, memory=3) == ["tasks"]
    assert not any(court.look(tasks=count, memory=4) for count in range(9, 20))
    court.now += AGAIN_S
    assert court.look(tasks=20, memory=4) == ["tasks", "memory"]
    court.now += AGAIN_S
    assert court.look(tasks=20, memory=4) == court.look(tasks=1, incarnation=2) == []


def test_where_no_limit_is_known_none_is_reached() -> None:
    court = Court()
    court.watch.look("third", 1, LimitUsage(5000, 0), 0.0)
    assert court.told == []


def test_counters_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    assert parse_count("low 0\nhigh 0\nmax 12\noom 3\noom_kill 1\n", "oom") == 3
    with pytest.raises(ValueError, match="no oom"):
        parse_count("max 12\n", "oom")
    group = Group(GroupPath(tmp_path / "third", "/third"))
    assert group.refused == (0, 0), "without controllers nobody counts"
    (tmp_path / "third" / "pids.events").write_text("max 4\n")
    (tmp_path / "third" / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n")
    assert group.refused == (4, 2)
    group.close()


def test_the_descriptors_of_a_process_are_counted() -> None:
    before, descriptor = open_descriptors(os.getpid()), os.open("/dev/null", os.O_RDONLY)
    try:
        assert open_descriptors(os.getpid()) == before + 1 > 1
    finally:
        os.close(descriptor)
    assert open_descriptors(1 << 30) == 0
