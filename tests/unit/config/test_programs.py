"""Programs in the configuration: what goes together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tlsrt.config.components import ComponentConfig
from tlsrt.config.name_rules import parse_rule
from tlsrt.config.needs import EgressConfig
from tlsrt.config.program_files import files_of_programs
from tlsrt.config.programs import ProgramConfig
from tlsrt.errors import ConfigError

CAT = ProgramConfig("main", Path("/bin/cat"), "a test", where="tlsrt.yaml:3:5")


def test_a_call_has_a_deadline_and_a_kept_one_has_none() -> None:
    assert (CAT.deadline_s, CAT.runs_most) == (60.0, 2)
    kept = ProgramConfig("main", Path("/bin/cat"), "a test", life="kept")
    assert (kept.deadline_s, kept.runs_most, kept.problem) == (None, 1, "")
    short = ProgramConfig("main", Path("/bin/cat"), "a test", seconds=0.5, at_once=7)
    assert (short.deadline_s, short.runs_most) == (0.5, 7)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"state_mb": 1}, "only a kept program has a folder that lives on"),
        ({"files": {"/tmp/x": "text"}}, "/tmp/x cannot be made there"),
        ({"files": {"/etc/x": "x" * 40_000, "/etc/y": "x" * 40_000}}, "together they have more than 65536 bytes"),
    ],
)
def test_what_does_not_go_together(entry: dict[str, Any], sentence: str) -> None:
    assert sentence in replace(CAT, **entry).problem


def test_rules_of_names_are_refused() -> None:
    rules = EgressConfig((parse_rule("mqtt.example.org:8883"),), "a test")
    program = ProgramConfig("main", CAT.run, "a test", egress=(rules,))
    assert program.problem == "a program has no rules of names: say mqtt.example.org:8883 by its address"


@pytest.mark.parametrize("name", ["seconds", "at_once"])
def test_a_kept_one_with_what_it_cannot_have_is_refused_with_its_place(name: str) -> None:
    wrong = ProgramConfig("main", CAT.run, "a test", life="kept", where="tlsrt.yaml:3:5", **{name: 3})  # type: ignore[arg-type]
    component = ComponentConfig("third", "broker", "", programs=(wrong,))
    with pytest.raises(ConfigError, match=rf"tlsrt.yaml:3:5: third/broker .* a kept program has no `{name}`"):
        files_of_programs((component,))
