"""A row that hangs or fails keeps what it had measured, and costs nobody else's time."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from bench import inside, outside  # noqa: E402
from bench.figures import Outcome  # noqa: E402
from bench.row import Case, Contender, Metric, Row, Sample  # noqa: E402

SAMPLE = json.dumps({"round": 0, "case": "one", "contender": "ours", "sample": {"rate": 1.0}})
WARM = json.dumps({"round": -1, "case": "one", "contender": "ours", "sample": {"rate": 9.0}})
SKIPPED = json.dumps({"skipped": "peer", "why": "it is not here"})
ROW = Row(
    "sample",
    "",
    (Case("one"),),
    (Contender("ours", lambda folder: pytest.fail("nobody opens it here")),),
    (Metric("rate", "1/s"),),
)


def script(folder: Path, text: str) -> Path:
    path = folder / "run.py"
    path.write_text(text)
    return path


def test_a_silent_row_ends_and_keeps_its_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "\n".join([WARM, SAMPLE, SKIPPED])
    text = f"import signal\nprint({lines!r}, flush=True)\nsignal.pause()\n"
    monkeypatch.setattr(outside, "RUN", script(tmp_path, text))
    noted: list[int] = []
    outcome = outside.run_row(replace(ROW, silence_s=1.0), 1, lambda: noted.append(1))
    assert outcome.problem == "hangs: no sample in 1 s"
    assert outcome.rounds == {"one": [{"ours": {"rate": 1.0}}]}
    assert outcome.skipped == {"peer": "it is not here"}
    assert len(noted) == 3


def test_a_row_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "RUN", script(tmp_path, f"print({SAMPLE!r})\nraise SystemExit('no way')\n"))
    outcome = outside.run_row(replace(ROW, silence_s=30.0), 1, lambda: None)
    assert outcome.problem == "no way"
    assert outcome.rounds


class Fragile:
    """A subject that fails in one case."""

    def __init__(self, opened: list[str], name: str, weakness: str) -> None:
        opened.append(name)
        self._weakness = weakness

    def burst(self, case: Case, seconds: float) -> Sample:
        if case.name == self._weakness:
            raise ConnectionResetError("it was too much")
        return {"rate": 1.0}


@pytest.mark.parametrize("weak", ["ours", "peer"])
def test_a_case_that_fails_costs_its_cell(
    weak: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def contender(name: str) -> Contender:
        @contextmanager
        def begin(folder: Path) -> Iterator[Fragile]:
            yield Fragile(opened, name, "two" if name == weak else "")

        return Contender(name, begin)

    cases = (Case("one"), Case("two"), Case("three"))
    inside.run_inside(replace(ROW, cases=cases, contenders=(contender("ours"), contender("peer"))), 2, tmp_path)
    outcome = Outcome()
    for line in capfd.readouterr().out.splitlines():
        outside._take(json.loads(line), outcome)
    assert outcome.failed == {"two": {weak: "ConnectionResetError: it was too much"}}
    assert not outcome.skipped and not outcome.problem
    other = "peer" if weak == "ours" else "ours"
    assert [set(one) for one in outcome.rounds["one"]] == [{"ours", "peer"}] * 2
    assert [set(one) for one in outcome.rounds["two"]] == [{other}] * 2
    assert [set(one) for one in outcome.rounds["three"]] == [{"ours", "peer"}] * 2
    assert sorted(opened) == sorted(["ours", "peer", weak])
