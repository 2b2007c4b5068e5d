"""Looks at the folders of programs: one after the other, for as long as the runs live."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tlsrt.supervisor.process.folder_size import AT_ONCE
from tlsrt.supervisor.supervision.state_watch import PAUSE_S, StateWatch


class Stage:
    """An event loop that is turned by hand, over a folder with those of runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.lines: list[str] = []
        self.ended: dict[str, str] = {}
        self._order = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self.watch = StateWatch(
            cast(
                Any,
                SimpleNamespace(
                    event_loop=SimpleNamespace(call_later=self._call_later),
                    console=SimpleNamespace(warning=lambda *words: self.lines.append(" ".join(words))),
                    current=SimpleNamespace(config=SimpleNamespace(state_dir=folder)),
                ),
            )
        )

    def _call_later(self, pause_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + pause_s, next(self._order), call))

    def begin(self, slot: str) -> Any:
        placed = SimpleNamespace(program=SimpleNamespace(state_mb=1))
        run: Any = SimpleNamespace(placed=placed, slot=slot, name=slot, child=object(), outcome=None)

        def end(why: str) -> None:
            run.outcome = "ended"
            self.ended[slot] = why

        self.watch.watch(run, end)
        return run

    def turn(self, until: float, each: Callable[[], None] = lambda: None) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, call = heapq.heappop(self._due)
            call()
            each()


def filled(folder: Path, files: int) -> None:
    folder.mkdir()
    for number in range(files):
        (folder / str(number)).touch()


def test_one_folder_is_looked_at_after_the_other_and_an_end_lets_the_next_go_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for slot in ("a", "b", "c"):
        filled(tmp_path / slot, 250)
    filled(tmp_path / "d", 300)
    runs = [stage.begin(slot) for slot in "abcd"]
    before, most = len(os.listdir("/proc/self/fd")), 0

    def each() -> None:
        nonlocal most
        now = len(os.listdir("/proc/self/fd")) - before
        most = max(most, now)
        if now:
            runs[0].child = None  # its look stops, and those after it go on

    assert AT_ONCE < 250
    stage.turn(PAUSE_S, each)
    assert most == 2
    assert list(stage.ended) == ["d"]
    assert "1 MiB, in files or in their number" in stage.ended["d"]
    filled(tmp_path / "c" / "more", 100)
    stage.turn(3 * PAUSE_S, each)
    assert list(stage.ended) == ["d", "c"] and most == 4
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_measured_is_told_once_and_looked_at_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    run = stage.begin("a")
    stage.turn(5 * PAUSE_S)
    assert stage.lines == ["a its /state cannot be measured: No such file or directory"]
    filled(tmp_path / "a", 300)
    stage.turn(6 * PAUSE_S)
    assert list(stage.ended) == ["a"] and run.outcome
