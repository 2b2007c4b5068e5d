"""Everything a captured process would try, tried in every sealed profile: the outcomes are those of probes.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from probes.sandbox_runner import SandboxRunner
from probes.sealed_probes import names

from tlsrt.sandbox.profile.profile_files import LOOP_PROCESSES

TABLE: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("probes.yaml").read_text())
PROCESSES: list[str] = TABLE["processes"]
ONLY_I386 = {"int80_getpid", "int80_unshare"}


def wanted(probe: str, process: str, mode: str) -> str:
    row = TABLE["probes"][probe]
    special = row.get("rootless", {}) if mode == "rootless" else {}
    outcome: str = special.get(process, row.get(process, row["all"]))
    return outcome


@pytest.fixture(scope="module")
def outcomes(shared_stage: SandboxRunner) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = shared_stage.run("all_probes")
    return found


def test_the_table_speaks_of_every_process_and_every_probe() -> None:
    assert set(PROCESSES) == {"authority", *LOOP_PROCESSES, "reports", "proxy", "fetcher"}
    assert set(names()) <= set(TABLE["probes"]) and len(TABLE["probes"]) >= 63
    for row in TABLE["probes"].values():
        assert set(row) - {"all", "rootless"} <= set(PROCESSES)


@pytest.mark.parametrize("process", PROCESSES)
def test_every_attempt_ends_as_the_table_says(
    outcomes: dict[str, dict[str, str]], process: str, shared_stage: SandboxRunner
) -> None:
    found = outcomes[process]
    assert set(found) == set(names())
    expected = {name: wanted(name, process, shared_stage.mode) for name in found}
    for name in ONLY_I386 & set(found):
        if found[name] == "SIGSEGV":  # a kernel without 32-bit programs refuses it before any filter
            expected[name] = "SIGSEGV"
    assert found == expected
