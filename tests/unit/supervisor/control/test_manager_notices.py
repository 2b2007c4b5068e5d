"""What the service manager hears, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlsrt.channels.control.life import LoopState
from tlsrt.config.programs import ProgramConfig
from tlsrt.supervisor.control.manager_notices import ASK_S, ManagerNotices
from tlsrt.supervisor.events.bus import EventBus
from tlsrt.supervisor.process.service_manager import STATUS_MAX, notice, status_line


@dataclass
class Ears:
    watchdog_us: int = 0
    said: list[str] = field(default_factory=list[str])
    times: list[int] = field(default_factory=list[int])

    def say(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        lines = message.decode().split("\n")
        self.times += [int(line.partition("=")[2]) for line in lines if line.startswith("EXTEND_")]
        self.said += [line for line in lines if not line.startswith("EXTEND_")]


class Stage:
    """Two loops, seven components, and a clock that the test moves."""

    def __init__(self, watchdog_us: int = 0) -> None:
        self.ears = Ears(watchdog_us)
        self.bus = EventBus()
        self.loops: list[Any] = [
            SimpleNamespace(
                state=LoopState.SPAWNED,
                config=SimpleNamespace(is_part=False),
                managed_by=self,
                name=f"loop {number}",
                last_death=None,
            )
            for number in range(2)
        ]
        self.event_loop = SimpleNamespace(now=100.0)
        config = SimpleNamespace(components=[None] * 7, limits=SimpleNamespace(stop_timeout_s=5.0))
        self.group: Any = SimpleNamespace(all=self.loops, is_stopping=False, living=lambda: self.loops)
        context: Any = SimpleNamespace(
            event_loop=self.event_loop, events=self.bus, current=SimpleNamespace(config=config)
        )
        self.lock: Any = SimpleNamespace(record=None)
        loops: Any = self.group
        self.notices = ManagerNotices(context, loops, self.lock, self.ears, lambda: 55)

    def ready(self) -> list[str]:
        for loop in self.loops:
            loop.state = LoopState.ACTIVE
        self.notices.loop_changed(self.loops[1])
        return self.said()

    def programs_of(self, process: str) -> list[Any]:
        """Return a program that has 20 s to end, of the second process."""
        program = ProgramConfig("main", Path("/bin/cat"), "a test", life="kept", stop_seconds=20)
        placed = SimpleNamespace(component=SimpleNamespace(address="third/a"), program=program)
        return [placed] if process == "loop 1" else []

    def said(self) -> list[str]:
        found, self.ears.said = self.ears.said, []
        return found


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_ready_is_said_once_and_not_before_the_door_and_every_loop_serve(stage: Stage) -> None:
    stage.loops[1].state = LoopState.ACTIVE
    stage.notices.loop_changed(stage.loops[1])
    assert stage.said() == ["STATUS=starting: 1 of 2 loops serve"]
    assert stage.ready() == ["READY=1", "STATUS=2 loops, 7 components"]
    assert stage.ready() == []


def test_one_that_has_failed_once_holds_up_no_start_and_is_named(stage: Stage) -> None:
    stage.loops[0].state, stage.loops[1].state = LoopState.ACTIVE, LoopState.BACKOFF
    stage.notices.loop_changed(stage.loops[0])
    assert "READY=1" not in stage.said()  # it has not ended yet
    stage.loops[1].last_death = "exit code 3"
    stage.notices.loop_changed(stage.loops[1])
    assert stage.said() == ["READY=1", "STATUS=1 of 2 loops, 7 components, without loop 1"]
    stage.loops[1].state = LoopState.ACTIVE
    stage.notices.loop_changed(stage.loops[1])
    assert stage.said() == ["STATUS=2 loops, 7 components"]


def test_the_door_is_waited_for_also_when_it_has_failed_once(stage: Stage) -> None:
    stage.loops[0].state, stage.loops[1].state = LoopState.BACKOFF, LoopState.ACTIVE
    stage.loops[0].last_death = "exit code 3"
    stage.notices.loop_changed(stage.loops[0])
    assert "READY=1" not in stage.said()


def test_a_host_whose_door_was_given_up_is_not_ready(stage: Stage) -> None:
    stage.loops[0].state, stage.loops[1].state = LoopState.FAILED, LoopState.ACTIVE
    stage.notices.loop_changed(stage.loops[0])
    assert "READY=1" not in stage.said()


def test_the_status_follows_losses_and_locks_and_is_not_repeated(stage: Stage) -> None:
    stage.ready()
    stage.loops[1].state = LoopState.BACKOFF
    stage.notices.judged()
    stage.notices.judged()
    assert stage.said() == ["STATUS=1 of 2 loops, 7 components, without loop 1"]
    stage.loops[1].state = LoopState.ACTIVE
    stage.lock.record = SimpleNamespace(by="operator")
    stage.notices.judged()
    assert stage.said() == ["STATUS=2 loops, 7 components, locked by operator"]


def test_a_reload_is_framed_and_its_refusal_stays_in_the_status(stage: Stage) -> None:
    stage.ready()
    stage.bus.emit("reloading", "supervisor")
    assert stage.said() == ["RELOADING=1", "MONOTONIC_USEC=55"]
    stage.bus.emit("reload_refused", "supervisor", "tlsrt.yaml:3:1: no\nsuch key")
    stage.bus.emit("reload_refused", "supervisor", "another")
    [ready, status] = stage.said()
    assert ready == "READY=1"
    assert status.startswith("STATUS=2 loops, 7 components, the last reload was refused: tlsrt.yaml:3:1: no")
    stage.bus.emit("reloading", "supervisor")
    stage.bus.emit("reloaded", "supervisor", epoch=2)
    assert stage.said() == ["RELOADING=1", "MONOTONIC_USEC=55", "READY=1", "STATUS=2 loops, 7 components"]


def test_a_reload_of_a_host_that_still_starts_makes_it_not_ready(stage: Stage) -> None:
    stage.bus.emit("reloading", "supervisor")
    stage.bus.emit("reload_refused", "supervisor", "tlsrt has not started yet")
    assert stage.said() == []
    stage.loops[0].state = LoopState.ACTIVE
    stage.bus.emit("reloading", "supervisor")
    stage.group.all = stage.loops[:1]  # the other one was removed
    stage.bus.emit("reloaded", "supervisor", epoch=2)
    assert stage.said() == []
    stage.notices.judged()
    assert stage.said() == ["READY=1", "STATUS=1 loops, 7 components"]


def test_a_reload_asks_for_time_as_long_as_it_goes_on(stage: Stage) -> None:
    stage.ready()
    stage.bus.emit("reloading", "supervisor")
    before = len(stage.ears.times)
    for _ in range(4):
        stage.event_loop.now += ASK_S
        stage.notices.judged()
    assert len(stage.ears.times) == before + 4
    stage.bus.emit("reloaded", "supervisor", epoch=2)
    stage.event_loop.now += ASK_S
    stage.notices.judged()
    assert len(stage.ears.times) == before + 4


def test_it_is_alive_when_all_are_judged_and_four_times_within_the_limit() -> None:
    stage = Stage(watchdog_us=2_000_000)
    for _ in range(20):
        stage.notices.judged()
        stage.event_loop.now += 0.1
    assert stage.said().count("WATCHDOG=1") == 4


def test_a_manager_without_a_watchdog_hears_of_no_life(stage: Stage) -> None:
    stage.notices.judged()
    assert "WATCHDOG=1" not in stage.said()


def test_a_stop_is_said_and_ends_a_reload_without_another_ready(stage: Stage) -> None:
    stage.ready()
    stage.bus.emit("reloading", "supervisor")
    stage.group.is_stopping = True
    stage.said()
    stage.notices.stopping()
    stage.bus.emit("reload_refused", "supervisor", "stopping")
    assert stage.said() == ["STOPPING=1", "STATUS=stopping, 2 loops serve still"]
    assert stage.ears.times[-1] >= 25_000_000, "the time of a process, and of the program that takes longest"


def test_a_status_is_one_printable_line_of_bounded_length() -> None:
    line = status_line(["5 loops", "", "x\n\x1b[31m" + "y" * 1000])
    assert line.startswith("5 loops, x") and "\n" not in line and "\x1b" not in line and len(line) <= STATUS_MAX


def test_a_notice_is_lines_of_assignments() -> None:
    assert notice("READY=1", STATUS="a b", MAINPID=3) == b"READY=1\nSTATUS=a b\nMAINPID=3"
