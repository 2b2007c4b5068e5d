"""What `component add` says of a program: that it runs only if it goes on running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tlsrt.supervisor.cli.component import program_end
from tlsrt.supervisor.cli.component.program_end import end_at_once


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SETTLE_S", 0.01), ("BEGIN_S", 0.1), ("_LOOK_S", 0.001)):
        monkeypatch.setattr(program_end, name, value)


def looks(*records: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield a status for each record, and the last one for ever."""
    at = 0
    while True:
        record = records[min(at, len(records) - 1)]
        programs = [] if record is None else [{"name": "third/kettle main", "last": None, **record}]
        yield {"loops": [{"name": "third.kettle", "programs": programs}]}
        at += 1


WAITS: dict[str, Any] = {"running": [], "is_down": False}
RUNS: dict[str, Any] = {"running": [{"pid": 1}], "is_down": False}


def said(tmp_path: Path, *records: dict[str, Any] | None, log: str = "") -> str:
    (tmp_path / "log").write_text(log)
    found = looks(*records)
    return end_at_once(lambda: next(found), "third.kettle", str(tmp_path / "log"))


def test_one_that_goes_on_running_runs(tmp_path: Path) -> None:
    assert said(tmp_path, WAITS, RUNS) == "" and said(tmp_path, None) == ""


def test_one_that_ends_has_its_status_and_the_last_of_its_words(tmp_path: Path) -> None:
    down = {"running": [], "is_down": True, "last": "#2: with status 3"}
    log = "main #1: first\nmain #2: no \x1bwater\n2026 WARNING third/kettle: the program main: with status 3\n"
    assert said(tmp_path, WAITS, RUNS, down, log=log) == (
        'its program has ended with status 3 (run #2); it says: "no \\x1bwater"'
    )
    assert said(tmp_path, {**down, "last": "cannot be run"}) == "its program has ended: cannot be run"


def test_one_that_does_not_begin_says_so(tmp_path: Path) -> None:
    assert said(tmp_path, WAITS) == "its program has not begun after 0.1 s"
