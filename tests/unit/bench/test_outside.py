"""A row that hangs or fails keeps what it had measured, and costs nobody else's time."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from bench import outside  # noqa: E402
from bench.row import Case, Contender, Metric, Row  # noqa: E402

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
