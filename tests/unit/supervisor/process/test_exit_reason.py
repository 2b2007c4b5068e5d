"""Causes of deaths: the whole table of what can be known, and no word of a loop in any sentence."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.life import FailCode, LoopState
from tlsrt.supervisor.process.exit_reason import (
    Cause,
    Death,
    ExitReason,
    KillReason,
    cause_of_death,
    cause_of_word,
    verdict_of_failure,
)
from tlsrt.supervisor.supervision.findings import FATAL
from tlsrt.supervisor.supervision.states import TRANSITIONS, LoopEvent, cause_of_event

HEARTBEAT = KillReason(Cause.HEARTBEAT, "heartbeat")
KILLED = ExitReason(None, signal.SIGKILL)
TIRELESS = ExitReason(None, signal.SIGXCPU)
SIGNALS = st.builds(lambda number: ExitReason(None, number), st.integers(1, 64))


@pytest.mark.parametrize(
    ("reason", "verdict", "kills", "cause", "sentence"),
    [
        (ExitReason(0, None), None, 0, Cause.EXIT, "exit code 0"),
        (ExitReason(70, None), None, 5, Cause.EXIT, "exit code 70"),
        (KILLED, None, 0, Cause.SIGNAL, "signal SIGKILL"),
        (KILLED, None, 1, Cause.OOM, "signal SIGKILL: out of memory, by the limit of its control group"),
        (KILLED, HEARTBEAT, 1, Cause.HEARTBEAT, "heartbeat"),
        (ExitReason(0, None), KillReason(Cause.RELOAD, "replaced"), 0, Cause.RELOAD, "replaced"),
        (ExitReason(None, signal.SIGSEGV), None, 1, Cause.SIGNAL, "signal SIGSEGV"),
        (TIRELESS, None, 0, Cause.CPU_LIMIT, "signal SIGXCPU: it ran in real time without a pause"),
        (ExitReason(None, 40), None, 0, Cause.SIGNAL, "signal 40"),
        (None, None, 0, Cause.FORK, "cannot be forked"),
    ],
)  # fmt: skip
def test_what_is_known_decides(
    reason: ExitReason | None, verdict: KillReason | None, kills: int, cause: Cause, sentence: str
) -> None:
    death = cause_of_death(reason, verdict, oom_kills=kills, incarnation=3, at=9.5)
    assert (death.cause, str(death), death.incarnation, death.at) == (cause, sentence, 3, 9.5)


def test_a_forbidden_call_is_named_as_what_it_is() -> None:
    death = cause_of_death(ExitReason(None, signal.SIGSYS), None)
    assert death.cause is Cause.SECCOMP
    assert (death.code, death.signal) == (None, "SIGSYS")


@given(
    st.one_of(st.none(), st.builds(lambda code: ExitReason(code, None), st.integers(0, 255)), SIGNALS),
    st.one_of(st.none(), st.builds(KillReason, st.sampled_from(Cause), st.text())),
    st.integers(0, 9),
)  # fmt: skip
def test_every_death_has_a_cause_and_what_the_kernel_said(
    reason: ExitReason | None, verdict: KillReason | None, kills: int
) -> None:
    death = cause_of_death(reason, verdict, oom_kills=kills)
    assert death.cause in Cause
    if reason is not None:
        assert (death.code is None) != (death.signal is None)
    if verdict is not None:
        assert (death.cause, death.sentence) == (verdict.cause, verdict.sentence)


@pytest.mark.parametrize("code", list(FailCode))
def test_every_code_of_a_failure_has_its_words(code: FailCode) -> None:
    verdict = verdict_of_failure(int(code), 0, ["third/notes"], "third.log")
    assert verdict.sentence.startswith("failed: ") and verdict.sentence.endswith(", see third.log")
    of_all = (FailCode.SANDBOX, FailCode.JOIN, FailCode.INTERNAL, FailCode.MEMORY)
    assert ("third/notes" in verdict.sentence) is (code not in of_all)


@given(st.integers(), st.integers(0))
def test_a_failure_of_any_numbers_has_a_verdict(code: int, index: int) -> None:
    assert verdict_of_failure(code, index, [], "x").sentence.startswith("failed: ")


def test_every_event_that_ends_a_loop_has_a_usual_cause() -> None:
    ending = {event for (_, event), after in TRANSITIONS.items() if after is LoopState.STOPPING}
    assert {cause_of_event(event) for event in ending} <= set(Cause)
    assert cause_of_event(LoopEvent.HUNG) is Cause.HEARTBEAT


def test_every_word_of_the_authority_that_ends_a_loop_has_a_cause() -> None:
    assert {word: str(cause_of_word(word)) for word in FATAL} == {
        "anomaly": "anomaly", "offence": "protocol", "unattested": "attestation", "unprepared": "deadline",
    }  # fmt: skip


def test_a_death_reads_as_its_sentence() -> None:
    assert f"{Death(Cause.EXIT, 'exit code 3')}; again" == "exit code 3; again"
