"""Which status an error has: one for each meaning."""

from __future__ import annotations

import json

import pytest

from tlsrt import errors
from tlsrt.channels.calls.pending_calls import _REFUSALS
from tlsrt.loops.http.response import _STATUS, LOCKED_RETRY_S, problem_answer, problem_of
from tlsrt.loops.http.session import _WORDS

CODES = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.CallError)}
PASSES = {"busy", "unavailable", "away", "stale", "locked", "unsynchronised"}


def test_every_error_of_the_runtime_has_a_status() -> None:
    told = {code for code, _ in _WORDS.values()}
    assert CODES | _REFUSALS | told <= set(_STATUS)


@pytest.mark.parametrize("code", sorted(_STATUS))
def test_what_passes_is_503_and_says_when_and_what_may_have_run_never_is(code: str) -> None:
    problem = problem_of(errors.call_error(code, "words"))
    assert (problem.status == 503) == (code in PASSES)
    assert ("Retry-After" in problem.headers) == (problem.status in (429, 503))
    assert problem.status != 500 or code == "failed"
    if code == "locked":
        assert problem.headers["Retry-After"] == str(LOCKED_RETRY_S)


def test_a_code_that_a_component_defines_is_its_failure() -> None:
    answer = problem_answer(problem_of(errors.CallError("the kettle is empty", code="no_water")))
    assert answer.status == 500 and json.loads(answer.body)["type"] == "urn:tlsrt:error:no_water"


def test_a_quarantine_names_its_end() -> None:
    error = errors.quarantined_untrusted(errors.quarantined_word(53_001))
    assert error is not None and error.retry_after_s == 54 and "for 54 s more" in error.message
    problem = problem_of(error)
    assert (problem.status, problem.code, problem.headers) == (429, "quarantined", {"Retry-After": "54"})


@pytest.mark.parametrize("word", ["", "rejected", "quarantined", "quarantined ", "quarantined -1", "quarantined 1e9",
                                  "quarantined 1234567", "quarantined ²", "quarantinedx 5"])  # fmt: skip
def test_any_other_word_is_no_quarantine(word: str) -> None:
    assert errors.quarantined_untrusted(word) is None
