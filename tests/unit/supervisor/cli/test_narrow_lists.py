"""Lists at a terminal of 80 columns: with names as long as they may be, no line is wider, and what matters is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from tlsrt.channels.cli.contexts import context_lines
from tlsrt.channels.cli.verbs import VERBS as CLIENT_VERBS
from tlsrt.command_line.fitted import shown_at
from tlsrt.command_line.table import Verb
from tlsrt.config.access import PolicyRule
from tlsrt.supervisor.cli.ages import age_lines
from tlsrt.supervisor.cli.configuration import show_lines
from tlsrt.supervisor.cli.detection import anomaly_lines
from tlsrt.supervisor.cli.policy import rule_lines
from tlsrt.supervisor.cli.status_table import SHORT, process_table
from tlsrt.supervisor.cli.verbs import VERBS

WIDTH = 80
LOOP, CLIENT = "l" * 32, "c" * 64
ADDRESS = f"{LOOP}/{'n' * 32}"
STEP = {
    "step": "quarantine", "kind": "session", "value": "0" * 32, "subject": CLIENT, "detector": "decoy_component",
    "what": f"{ADDRESS} {'open' * 20}", "left_ms": 54_000, "observed": True,
}  # fmt: skip
DETECTOR = {
    "name": "decoy_component",
    "found": 12345,
    "counted": 12345,
    "points": 100,
    "about": "w" * 90,
    "mode": "act",
}
PROCESS = {
    "name": f"{LOOP}.{'n' * 31}", "state": "given up", "pid": 4_194_303, "uptime_s": 9e6, "restarts": 1234,
    "sessions": 64, "frames": {"in": 1, "out": 1, "refused": 1}, "lateness_ms": 1.0, "phi": 1.0, "memory_kib": 1 << 20,
    "sandbox": {"layers": [], "waived": [], "profile": ""}, "epoch": 1, "health": "good", "components": [],
}  # fmt: skip
LISTS: dict[str, tuple[Callable[[], list[str]], list[str]]] = {
    "policy graph": (
        lambda: rule_lines([PolicyRule(f"client/{CLIENT}", "third/kettle", tuple("boil" * n for n in range(1, 30)))]),
        ["client/"],
    ),
    "anomalies": (
        lambda: anomaly_lines(
            {
                "mode": "act", "steps": [STEP], "detectors": [DETECTOR],
                "scores": [{"kind": "loop", "value": LOOP * 4, "score": 99.5}],
            }
        ),
        ["54.0 s  quarantine", "decoy_component", "12345"],
    ),
    "config show": (
        lambda: show_lines(
            {
                "configuration": "/etc/tlsrt/tlsrt.yaml", "remarks": [],
                "values": [
                    {
                        "key": "door.port", "value": "v" * 200, "said": "", "file": "/etc/tlsrt/tlsrt.yaml",
                        "line": 12, "column": 3,
                    }
                ],
            }
        ),
        ["door.port", "tlsrt.yaml:12:3"],
    ),
    "doctor": (
        lambda: age_lines(
            [{"what": f"client {CLIENT}", "begins": None, "ends": "2026-12-28T00:00:00+00:00"}],
            datetime(2026, 11, 28, tzinfo=UTC),
        ),
        ["30 d"],
    ),
    "status": (
        lambda: process_table({"authority": PROCESS, "loops": [PROCESS]}, SHORT),
        ["given up", "good"],
    ),
    "context list": (
        lambda: context_lines(
            {"use": "kettle", "contexts": {"kettle": {"address": "kettle.local:7443", "bundle": "/b" * 60}}}
        ),
        ["* ", "kettle"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_no_line_is_wider_and_what_matters_first_is_there(name: str) -> None:
    lines, shown = LISTS[name]
    whole = lines()
    with shown_at(WIDTH):
        fitted = lines()
    assert max(map(len, whole)) > WIDTH, "these names are not long"
    assert max(map(len, fitted)) <= WIDTH
    assert all(word in "\n".join(fitted) for word in shown), fitted
    assert "--wide" in "\n".join(fitted)


def of_name(table: tuple[Verb, ...], before: str = "") -> Iterator[tuple[str, Verb]]:
    for verb in table:
        yield f"{before}{verb.name}", verb
        yield from of_name(verb.verbs, f"{before}{verb.name} ")


def test_every_list_has_wide() -> None:
    """What is cut can be had: a list without `--wide` is never cut, so that it may be wider than the terminal."""
    found = dict([*of_name(VERBS), *of_name(CLIENT_VERBS)])
    for name in (
        *LISTS,
        "sessions",
        "client list",
        "component list",
        "secret list",
        "jobs list",
        "jobs",
        "quarantine list",
    ):
        assert any("--wide" in one.words for one in found[name].arguments), name
