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

HELD_S = 1.0  # the supervisor, by one that is stopped: 0.1, and twice that for two

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


def test_one_that_is_killed_or_stopped_is_replaced_by_one_that_is_like_it() -> None:
    facts = asked("replaced")
    first, *others = facts["found"]
    assert facts["left"] == 0 and first["is_renewed"]
    for one, (number, words) in zip(others, [(9, ""), (9, "stopped by a signal"), (9, "")], strict=True):
        assert one["code"] == ENDS_WITH and one["is_known"] and not one["is_warm"]
        assert (one["held"], one["frames"], one["parent"]) == (first["held"], first["frames"], first["parent"])
        assert one["end"][0] == number and words in one["end"][1], one["end"]
        assert one["is_renewed"] and one["children"] == 2  # the killed one, and the spare that works now
        assert one["held_s"] < HELD_S


def test_one_that_is_killed_in_the_middle_of_a_birth_leaves_a_child_that_does_nothing() -> None:
    facts = asked("middle")
    assert (facts["said"], facts["code"], facts["is_known"]) == ("by the supervisor", ENDS_WITH, True)
    assert facts["end"] == [9, ""] and facts["held_s"] < HELD_S


def test_without_any_the_supervisor_is_told_to_fork_by_itself_and_the_last_one_may_come_late() -> None:
    facts = asked("both")
    for name in ("stopped", "again", "killed"):
        assert facts[name].keys() == {"held_s"} and facts[name]["held_s"] < HELD_S, (name, facts[name])
    assert facts["end"][0] == 9
    assert facts["goes on"]["code"] == ENDS_WITH and facts["is over"]
    assert facts["begun again"]["code"] == ENDS_WITH and facts["begun again"]["is_known"] and facts["has spare"]
    assert facts["said late"] == ["", "", ""]


def test_with_too_few_numbers_for_descriptors_none_is_lost() -> None:
    facts = asked("scarce")
    assert len(facts) == 9 and not any(facts.values()), facts


def test_a_child_that_the_supervisor_does_not_know_does_nothing() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    assert fork_server._begin(-1, reader, ()) == EX_SOFTWARE
    os.close(reader)
