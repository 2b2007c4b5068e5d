"""What `init` makes of an answer of the check, and of none."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tlsrt.supervisor.cli import needed_waivers as waiving
from tlsrt.supervisor.cli.needed_waivers import needed_waivers


def answer(monkeypatch: pytest.MonkeyPatch, out: str, errors: str = "") -> None:
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 69, out, errors)

    monkeypatch.setattr(waiving.subprocess, "run", run)  # type: ignore[attr-defined]


def test_a_host_that_lacks_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"name": "uts_namespace", "reason": "refused", "voids": "names", "remedy": "ask", "fatal": False}
    whole = {**row, "name": "session"}
    answer(monkeypatch, json.dumps({"layers": [whole, row], "missing": ["uts_namespace"]}))
    waivers, sentences = needed_waivers()
    assert [(one.layer, one.reason, one.voids) for one in waivers] == [("uts_namespace", "refused", "names")]
    assert sentences == []


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ("tlsrt-supervisor: sandbox layer pidfd: no such call\n", "this host cannot run tlsrt: no such call"),
        ("", "this host cannot run tlsrt: no reason given"),
    ],
)
def test_a_check_that_says_nothing(monkeypatch: pytest.MonkeyPatch, errors: str, words: str) -> None:
    answer(monkeypatch, "", errors)
    assert needed_waivers() == ([], [words])


@pytest.mark.parametrize("error", [OSError(2, "gone"), subprocess.TimeoutExpired("x", 60)])
def test_a_check_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(*words: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(waiving.subprocess, "run", run)  # type: ignore[attr-defined]
    waivers, [sentence] = needed_waivers()
    assert waivers == [] and sentence.startswith("cannot check what this host can enforce")
