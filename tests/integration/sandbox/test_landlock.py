"""Landlock alone: what its rules allow, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest
from probes.sandbox_runner import SandboxRunner

EXPECTED = {
    "read_in": "allowed", "write_in": "allowed", "rename_in": "allowed", "remove_in": "allowed", "null": "allowed",
    "fifo_in": "EACCES", "link_in": "EACCES", "read_out": "EACCES", "list_out": "EACCES", "write_out": "EACCES",
    "move_out": "EACCES", "signal_self": "allowed",
}  # fmt: skip
SINCE = {4: {"connect_listed": "allowed", "connect_other": "EACCES", "bind": "EACCES"}, 6: {"signal_out": "EPERM"}}


@pytest.fixture(scope="module")
def facts(shared_stage: SandboxRunner) -> dict[str, Any]:
    return shared_stage.run("landlocked")


@pytest.mark.parametrize("probe", sorted(EXPECTED))
def test_files(facts: dict[str, Any], probe: str) -> None:
    assert facts["end"] == "exit 0" and facts[probe] == EXPECTED[probe]


def test_ports_and_signals_as_far_as_this_kernel_knows_them(facts: dict[str, Any]) -> None:
    for abi, expected in SINCE.items():
        for probe, outcome in expected.items():
            assert facts[probe] == (outcome if facts["abi"] >= abi else "allowed"), probe


def test_the_digest_is_that_of_the_rules(facts: dict[str, Any]) -> None:
    assert len(bytes.fromhex(facts["digest"])) == 32


def test_one_layer_too_many_is_an_error_and_not_silence(stage: SandboxRunner) -> None:
    found = stage.run("nested")
    assert found["layers"] < 20 and "cannot restrict" in found["reason"]
