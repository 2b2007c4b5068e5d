"""The door of a proxy: one that cannot listen for a time tries again, and one that is closed does not."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.supervisor.process.unix_path import bind_unix
from tlsrt.supervisor.supervision import buses as module
from tlsrt.supervisor.supervision.buses import LONGEST_PAUSE_S, BusDoor


class Stage:
    """Programs that take note of what is to begin, and timers that are called by hand."""

    def __init__(self, tmp_path: Path) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.watched: dict[int, Callable[[int], None]] = {}
        self.lines: list[str] = []
        self.begun = 0
        (tmp_path / "bus").mkdir()
        event_loop = SimpleNamespace(
            now=100.0, call_later=self.call_later, watch=self.watched.__setitem__,
            forget=lambda number: self.watched.pop(number, None),
        )  # fmt: skip
        context = SimpleNamespace(
            event_loop=event_loop,
            current=SimpleNamespace(config=SimpleNamespace(run_dir=tmp_path)),
            console=SimpleNamespace(warning=lambda *words: self.lines.append(words[-1])),
        )
        placed = SimpleNamespace(
            component=SimpleNamespace(address="forth/battery"),
            program=SimpleNamespace(name="bus-1"),
            label="forth.battery/bus-1",
        )
        self.door = BusDoor(cast(Any, context), cast(Any, self), cast(Any, None), cast(Any, placed))

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> SimpleNamespace:
        entry = (delay_s, callback)
        self.due.append(entry)
        return SimpleNamespace(cancel=lambda: self.due.remove(entry) if entry in self.due else None)

    def begin(self, *anything: object) -> bool:
        self.begun += 1
        return True

    def turn(self) -> float:
        delay_s, callback = self.due.pop(0)
        callback()
        return delay_s

    def connect(self) -> None:
        (callback,) = self.watched.values()
        callback(0)


def test_a_door_that_cannot_listen_tries_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    problems = [OSError(24, "Too many open files") for _ in range(2)]

    def bind_later(*place: Any, **options: Any) -> socket.socket:
        if problems:
            raise problems.pop()
        return bind_unix(*place, **options)

    monkeypatch.setattr(module, "bind_unix", bind_later)
    stage = Stage(tmp_path)
    assert stage.turn() == LONGEST_PAUSE_S and not stage.watched
    assert stage.turn() == LONGEST_PAUSE_S and not stage.due
    assert stage.lines == ["cannot listen: Too many open files"] * 2
    stage.connect()
    problems.append(OSError(24, "Too many open files"))
    stage.door.over(Outcome.FAILED)
    stage.turn()
    stage.connect()
    assert stage.begun == 2 and not stage.watched
    stage.door.close()


def test_a_door_that_is_closed_stays_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.connect()
    stage.door.close()
    stage.door.over(Outcome.CANCELLED)
    assert not stage.due and not stage.watched and list((tmp_path / "bus").iterdir()) == []
