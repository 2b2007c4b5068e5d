"""What `sandbox explain` says is what a confined process meets, for every process, as root and rootless."""

from __future__ import annotations

from typing import Any

import pytest
from probes.explain_scenarios import PROCESSES
from probes.sandbox_runner import SandboxRunner

STAGES = ("before the seal", "after the seal")


@pytest.fixture(scope="module")
def facts(shared_stage: SandboxRunner) -> dict[str, Any]:
    return shared_stage.run("explained")


def said_of(answers: list[list[str]], stage: str, action: str) -> str:
    """The one answer about an action in a stage."""
    (how,) = [how for when, what, how in answers if when in (stage, "always") and what == action]
    return how


@pytest.mark.parametrize("process", PROCESSES)
def test_files_are_as_they_are_explained(facts: dict[str, Any], process: str) -> None:
    found = facts[process]
    assert found["end"] == "exit 0"
    wrong = []
    for stage, met in zip(STAGES, found["met"], strict=True):
        for path, outcomes in met.items():
            if path.startswith("/"):
                for action, outcome in zip(("read", "write"), outcomes, strict=True):
                    said = said_of(found["said"][path], stage, action)
                    if (outcome == "allowed") != (said == "allowed"):
                        wrong.append(f"{stage}: {action} {path}: {said} is said, {outcome} is met")
    assert wrong == []


@pytest.mark.parametrize("process", PROCESSES)
def test_calls_are_as_they_are_explained(facts: dict[str, Any], process: str) -> None:
    found = facts[process]
    wrong = []
    for stage, met in zip(STAGES, found["met"], strict=True):
        for question, outcomes in met.items():
            if question.startswith(("/", "host ")):
                continue
            said = said_of(found["said"][question], stage, question.split()[0])
            said = "allowed" if said == "as if done" else said  # the caller sees no difference
            if outcomes[0] != said and not (said == "allowed" and outcomes[0] not in ("EPERM", "ENOSYS")):
                wrong.append(f"{stage}: {question}: {said} is said, {outcomes[0]} is met")
    assert wrong == []
    for question, (answers, end) in found["killed"].items():
        assert said_of(answers, "after the seal", question.split()[0]) == "killed" == end, question


@pytest.mark.parametrize("process", PROCESSES)
def test_hosts_are_as_they_are_explained(facts: dict[str, Any], process: str) -> None:
    found = facts[process]
    wrong, reached = [], set()
    for stage, met in zip(STAGES, found["met"], strict=True):
        for question, outcomes in met.items():
            if question.startswith("host "):
                ((_, _, said),) = [answer for answer in found["said"][question] if answer[0] in (stage, "always")]
                if (outcomes[0] == "allowed") != (said == "allowed"):
                    wrong.append(f"{stage}: {question}: {said} is said, {outcomes[0]} is met")
                reached |= {question} if said == "allowed" else set()
    assert wrong == []
    assert len(reached) == (2 if process in ("external", "proxy", "fetcher") else 0)
