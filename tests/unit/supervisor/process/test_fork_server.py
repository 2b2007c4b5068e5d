"""The fork server: its children are the supervisor's, hold what they were given, and run only if they are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from probes.fork_server_scenarios import ENDS_WITH, OWN_NAMESPACE

from tlsrt.errors import EX_SOFTWARE
from tlsrt.supervisor.process import fork_server

TESTS = Path(__file__).parents[3]


def asked(scenario: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "probes.fork_server_scenarios", scenario], cwd=TESTS, capture_output=True, text=True,
        timeout=60, env={**os.environ, "PYTHONPATH": str(TESTS)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_child_is_the_supervisors_own_and_is_as_it_was_asked_for() -> None:
    facts = asked("child")
    assert facts["said"] == "by the supervisor"
    assert (facts["code"], facts["is_known"], facts["ended"]) == (ENDS_WITH, True, True)
    assert facts["parent"] == facts["we"]  # as /proc counts
    assert (facts["pid"] == 1) is OWN_NAMESPACE
    assert not facts["is_warm"]  # of the memory from before


def test_a_child_holds_what_it_was_given_at_the_same_numbers_and_no_more() -> None:
    facts = asked("many")
    assert set(facts["wanted"]) | {0, 1, 2, facts["writer"]} == set(facts["held"])


def test_one_that_is_gone_or_does_not_answer_forks_nothing_and_is_killed() -> None:
    facts = asked("gone")
    assert facts == {"SIGKILL": [{}, {}], "SIGKILL ends by": 9, "SIGSTOP": [{}, {}], "SIGSTOP ends by": 9}


def test_with_too_few_numbers_for_descriptors_none_is_lost() -> None:
    facts = asked("scarce")
    assert len(facts) == 6 and not any(facts.values()), facts


def test_a_child_that_the_supervisor_does_not_know_does_nothing() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    assert fork_server._begin(-1, reader, ()) == EX_SOFTWARE
    os.close(reader)
