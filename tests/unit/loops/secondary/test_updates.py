"""Orders of the updates service without apt: which of them go on, and what is shown of a log."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tlsrt.errors import Busy, Unavailable
from tlsrt.loops.secondary import updates
from tlsrt.loops.secondary.updates import Updates
from tlsrt.testing import FakeEvents, running_sync

NEEDS = {"disk_threads": 1, "alerts": [{"name": "applying", "why": "it is upgraded"}]}


@contextmanager
def service(folder: Path) -> Iterator[Any]:
    for name in ("orders", "results", "state"):
        (folder / name).mkdir(exist_ok=True)
    options = {"orders": str(folder / "orders"), "results": str(folder / "results"), "lists": str(folder)}
    with running_sync(
        Updates, options=options, state=folder / "state", address="secondary/updates", needs=NEEDS,
        events=FakeEvents(),
    ) as it:  # fmt: skip
        yield it


def note(folder: Path, age_s: float, state: str = "running") -> None:
    began = int((time.time() - age_s) * 1000)
    (folder / "results").mkdir(exist_ok=True)
    text = json.dumps({"order": "refresh", "state": state, "began_wall_ms": began, "message": None})
    (folder / "results/state.json").write_text(text)


def test_an_order_that_was_lost_keeps_no_later_one_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "_TAKEN_S", 0.1)
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    for age_s, is_lost in ((1.0, False), (since_boot + 60, True), (7_600.0, True)):
        note(tmp_path, age_s)
        with service(tmp_path) as it, pytest.raises(Unavailable if is_lost else Busy):
            it.call("refresh")
    assert not os.listdir(tmp_path / "orders"), "it was taken back"


def test_the_end_of_a_lost_order_is_told(tmp_path: Path) -> None:
    note(tmp_path, 7_600.0)
    with service(tmp_path) as it:
        (last,) = list(it.stream("progress"))
    assert (last["state"], "was interrupted" in last["message"]) == ("failed", True)


def test_no_character_of_a_log_is_cut_in_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "_CHUNK", 3)
    note(tmp_path, 1.0, "done")
    (tmp_path / "results/log").write_text("ä€ä€ä€ \U0001f600")
    with service(tmp_path) as it:
        said = [one["said"] for one in it.stream("progress") if "said" in one]
    assert "".join(said) == "ä€ä€ä€ \U0001f600"
