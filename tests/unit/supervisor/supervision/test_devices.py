"""When devices are looked for: one that holds the helper up waits long, and the others do not wait for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.life import LoopState
from tlsrt.config.devices import DeviceConfig
from tlsrt.supervisor.process.host_paths import Found
from tlsrt.supervisor.supervision import devices as module
from tlsrt.supervisor.supervision.devices import HINTED_S, HUNG_S, LOOK_S, SOON_S, Devices, DeviceState
from tlsrt.supervisor.supervision.helper_process import GONE, HUNG
from tlsrt.supervisor.supervision.states import LoopEvent


class Stage:
    """A helper that keeps what it is asked, and a clock with the one timer that is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.timers: list[SimpleNamespace] = []
        self.asked: list[tuple[str, Callable[[int, int], None]]] = []
        self.is_attested = True
        self.is_absent = False
        self.looks = 0
        self.on_ready: list[Callable[[], None]] = []
        self._path = ""
        self.loop = SimpleNamespace(name="third", incarnation=1, is_trusted=True, is_living=True)
        granted = [
            (SimpleNamespace(address="third/meter"), DeviceConfig(name=name, path=f"/dev/{name}", why="a test"))
            for name in ("one", "two")
        ]
        current = SimpleNamespace(config=SimpleNamespace(devices_of=lambda process: granted))
        monkeypatch.setattr(module, "find_device", self.find)
        self.watched = 0
        self.hint: Callable[[], None] = lambda: None
        monkeypatch.setattr(module, "FolderWatch", self.folder_watch)
        self.devices = Devices(
            cast("Any", SimpleNamespace(current=current, event_loop=self)), cast("Any", None), cast("Any", self)
        )
        self.devices.loop_moved(cast("Any", self.loop), LoopState.SEALED, LoopEvent.ATTESTED)
        self.pass_by(0)

    def folder_watch(self, event_loop: object, on_change: Callable[[], None]) -> SimpleNamespace:
        """Return one that hears nothing of /dev, and of `hint` what it is told."""
        is_armed = False

        def arm() -> None:
            nonlocal is_armed
            is_armed = True

        def hint() -> None:
            nonlocal is_armed
            if is_armed:
                is_armed = False
                on_change()

        def watch(folders: object) -> bool:
            self.watched += 1
            return False

        self.hint = hint
        return SimpleNamespace(watch=watch, arm=arm, close=lambda: None)

    def find(self, path: str, *, hears: bool = False) -> Found:
        self.looks += 1
        if self.is_absent:
            raise FileNotFoundError(2, "No such file or directory")
        self._path = path
        return Found(os.open("/dev/null", os.O_PATH), path)

    def open(self, place: int, fields: tuple[int, ...], done: Callable[[int, int], None]) -> None:
        self.asked.append((self._path, done))

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> SimpleNamespace:
        timer = SimpleNamespace(at=self.now + delay_s, callback=callback)
        timer.cancel = lambda: self.timers.remove(timer) if timer in self.timers else None
        self.timers.append(timer)
        assert len(self.timers) == 1, "one timer is enough"
        return timer

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0].at <= end + 1e-9:
            timer = self.timers.pop()
            self.now = max(self.now, timer.at)
            timer.callback()
        self.now = end

    def answer(self, *errors: int) -> None:
        asked, self.asked = self.asked, []
        for (_, done), error in zip(asked, errors, strict=True):
            done(error, -1)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_what_held_the_helper_up_waits_longer_each_time_and_the_other_does_not(stage: Stage) -> None:
    assert stage.paths == ["/dev/one", "/dev/two"]
    stage.answer(HUNG, GONE)
    stage.pass_by(LOOK_S)
    assert stage.paths == ["/dev/two"], "soon again, and without the one that held it up"
    stage.asked.clear()  # and it is there
    stage.pass_by(HUNG_S - 2 * LOOK_S)
    assert stage.paths == []
    stage.pass_by(LOOK_S)
    assert stage.paths == ["/dev/one"]
    stage.answer(HUNG)
    stage.pass_by(2 * HUNG_S - LOOK_S)
    assert stage.paths == []
    stage.pass_by(LOOK_S)
    assert stage.paths == ["/dev/one"]


def test_an_earlier_look_goes_before_a_later_one_and_a_later_one_moves_none(stage: Stage) -> None:
    stage.answer(HUNG, HUNG)
    assert stage.timers[0].at == stage.now + HUNG_S
    stage.loop = SimpleNamespace(name="forth", incarnation=1, is_trusted=True, is_living=True)
    stage.devices.loop_moved(cast("Any", stage.loop), LoopState.SEALED, LoopEvent.ATTESTED)
    assert stage.timers[0].at == stage.now
    stage.pass_by(0)
    assert len(stage.paths) == 2
    stage.answer(GONE, GONE)
    assert stage.timers[0].at == stage.now + LOOK_S


def test_a_helper_that_is_there_again_leaves_one_timer(stage: Stage) -> None:
    stage.answer(GONE, GONE)
    stage.on_ready[0]()
    assert len(stage.timers) == 1


def test_nothing_is_looked_for_that_none_may_get(stage: Stage) -> None:
    stage.loop.is_trusted = False
    stage.answer(GONE, GONE)
    stage.pass_by(10 * LOOK_S)
    assert stage.asked == [] and stage.timers == []


def test_a_flood_of_hints_costs_few_looks_and_one_hint_a_short_time(stage: Stage) -> None:
    stage.is_absent = True
    stage.answer(GONE, GONE)
    stage.pass_by(2 * LOOK_S)
    stage.looks = 0
    stage.hint()
    stage.pass_by(SOON_S)
    assert stage.looks == 2, "both, and soon"
    for _ in range(1000):
        stage.hint()
        stage.pass_by(0.001)
    assert stage.looks <= 2 * (1 + 1 / HINTED_S + 1)


def test_hints_are_heard_again_after_a_helper_was_away(stage: Stage) -> None:
    stage.is_absent = True
    stage.answer(GONE, GONE)
    stage.pass_by(2 * LOOK_S)
    stage.is_attested = False
    stage.hint()
    stage.pass_by(LOOK_S)
    stage.is_attested = True
    stage.on_ready[0]()
    stage.looks = 0
    stage.hint()
    stage.pass_by(HINTED_S)
    assert stage.looks == 2


def test_nothing_is_watched_for_once_stopping(stage: Stage) -> None:
    stage.devices.stopping()
    stage.watched = 0
    for place in stage.devices._places.values():
        place.state = DeviceState.PRESENT
    stage.devices.lost_untrusted(cast("Any", stage.loop), 0)
    assert stage.watched == 0
