"""Capabilities of programs: each is judged, and the sentence for what none gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.config.capabilities import GRANTED, REFUSED, refusal_of_capability
from tlsrt.config.programs import ProgramConfig
from tlsrt.errors import ConfigError
from tlsrt.sandbox import capabilities
from tlsrt.sandbox.profile import program_profile

PROGRAM = ProgramConfig(
    "x", Path("/bin/cat"), "a test", capabilities={"CAP_IPC_LOCK": "a test"}, where="tlsrt.yaml:7:9"
)


def test_every_capability_of_the_kernel_is_judged_once() -> None:
    assert {*GRANTED, *REFUSED} == {*capabilities.NUMBERS} and not {*GRANTED} & {*REFUSED}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CAP_SYS_ADMIN", "root in all but name"), ("CAP_NET_RAW", "ask with `egress`"), ("CAP_SETUID", "another user"),
        ("CAP_SYS_TIME", "no call"), ("CAP_IPC_LOK", "no capability CAP_IPC_LOK, did you mean"),
    ],
)  # fmt: skip
def test_what_no_program_gets(name: str, words: str) -> None:
    assert words in refusal_of_capability(name)
    assert replace(PROGRAM, capabilities={name: "a test"}).problem == refusal_of_capability(name)


def test_what_a_program_may_have() -> None:
    assert not any(map(refusal_of_capability, GRANTED)) and not PROGRAM.problem


@pytest.mark.parametrize(("rootless", "has", "words"), [(True, True, "as root"), (False, False, "does not have it")])
def test_no_more_than_the_supervisor_has(
    monkeypatch: pytest.MonkeyPatch, rootless: bool, has: bool, words: str
) -> None:
    monkeypatch.setattr(program_profile, "has_capability", lambda name: has)
    placed = cast("Any", SimpleNamespace(program=PROGRAM, label="third.notes/x"))
    with pytest.raises(ConfigError, match=rf"tlsrt.yaml:7:9: third.notes/x cannot have CAP_IPC_LOCK: .*{words}"):
        program_profile._check_capabilities(placed, rootless=rootless)
