"""Which call may be sealed again, what the repetition carries, and what is said when there is no more time."""

from __future__ import annotations

import pytest

from tlsrt.channels.calls.retry import AWAY_S, FirstUse, Retry
from tlsrt.channels.frames.frame import FrameKind, Header, pack_frame, pack_header
from tlsrt.errors import (
    Away,
    Busy,
    CallError,
    Conflict,
    DeadlineExceeded,
    Denied,
    Failed,
    OutcomeUnknown,
    Rejected,
    Stale,
    Unavailable,
)


def frame(mailbox: int) -> bytes:
    header = Header(1, FrameKind.REQUEST, bytes(16), 1, 0, "client/a", "x/y", mailbox, 1, "m", 1, 1, b"", 0)
    return pack_frame(pack_header(header), b"token", bytes(16), bytes(16))


def told(error: CallError, *, gate: bool = False) -> CallError:
    error.is_told, error.from_gate = True, gate
    return error


GATE = [told(kind(), gate=True) for kind in (Unavailable, Stale, Rejected)]
LOST: list[CallError] = [OutcomeUnknown(), Stale(), *GATE]
UNTOUCHED: list[CallError] = [Unavailable(), told(Away())]
FINAL: list[CallError] = [
    told(OutcomeUnknown()), told(Unavailable()), told(Stale()), told(Failed()), told(Conflict()), told(Busy()),
    told(Busy(), gate=True), Busy(), Denied(), DeadlineExceeded(),
]  # fmt: skip


def words(errors: list[CallError]) -> list[str]:
    return [f"{error.code}{' told' * error.is_told}{' by the gate' * error.from_gate}" for error in errors]


@pytest.mark.parametrize("error", LOST, ids=words(LOST))
def test_what_may_have_run_is_repeated_with_a_key_only_and_names_where(error: CallError) -> None:
    assert not Retry(None).may_follow(error, frame(7), 1)
    repetition = Retry("k")
    assert repetition.may_follow(error, frame(7), 1)
    assert repetition.key(1) == ("k", 7)
    assert repetition.may_follow(error, frame(8), 1)
    assert repetition.key(1) == ("k", 7), "the first attempt that may have run is the one that counts"
    assert repetition.key(2) == ("k", 0), "incarnations of another host are nobody's here"


@pytest.mark.parametrize("error", UNTOUCHED, ids=words(UNTOUCHED))
def test_what_did_not_run_is_repeated_for_a_moment_and_says_nothing_of_before(error: CallError) -> None:
    keyed, plain = Retry("k"), Retry(None)
    waited_s = 0.0
    while waited_s < AWAY_S:
        assert plain.may_follow(error, frame(7), 1)
        assert keyed.may_follow(error, frame(7), 1)
        waited_s += plain.pause_s
        plain.wait()
        keyed.wait()
    assert not plain.may_follow(error, frame(7), 1)
    assert keyed.may_follow(error, frame(7), 1)
    assert keyed.key(1) == "k"
    assert keyed.verdict(error) is error


@pytest.mark.parametrize("error", FINAL, ids=words(FINAL))
def test_what_was_answered_is_not_repeated(error: CallError) -> None:
    assert not Retry("k").may_follow(error, frame(7), 1)
    assert not Retry(None).may_follow(error, frame(7), 1)


@pytest.mark.parametrize("error", [Unavailable(), told(Away()), Busy(), Denied(), *GATE], ids=lambda error: error.code)
def test_after_one_that_may_have_run_nothing_says_that_none_did(error: CallError) -> None:
    repetition = Retry("k")
    assert repetition.may_follow(OutcomeUnknown(), frame(7), 1)
    verdict = repetition.verdict(error)
    if error.is_told and not error.from_gate:
        assert verdict is error  # by a recipient that was told where it may have run
    else:
        assert isinstance(verdict, OutcomeUnknown)


def test_an_attempt_that_was_never_sealed_may_not_have_run() -> None:
    repetition = Retry("k")
    assert repetition.may_follow(OutcomeUnknown(), b"", 1)
    assert repetition.key(1) == "k"


def test_a_key_of_many_calls_is_repeated_only_to_the_incarnation_that_may_have_run_it() -> None:
    first = FirstUse()
    call = Retry("k", first)
    assert call.key(0) == "k"
    call.sent(frame(7))
    again = Retry("k", first)
    assert again.key(0) == ("k", 7)
    again.sent(frame(8))
    assert not again.may_follow(told(OutcomeUnknown()), frame(8), 0)
    assert Retry("k", first).key(0) == ("k", 7)


@pytest.mark.parametrize(
    "error", [*GATE, told(Busy(), gate=True), told(Busy()), *UNTOUCHED], ids=lambda error: error.code
)
def test_what_the_gate_of_primary_refused_or_nobody_read_did_not_run(error: CallError) -> None:
    first = FirstUse()
    call = Retry("k", first)
    call.sent(frame(7))
    call.may_follow(error, frame(7), 0)
    assert call.key(0) == "k" and call.verdict(error) is error, "nothing was executed"
    call.sent(frame(8))
    assert Retry("k", first).key(0) == ("k", 8)


def test_a_refusal_says_nothing_of_a_call_before_or_beside_it() -> None:
    first = FirstUse()
    before, refused = Retry("k", first), Retry("k", first)
    before.sent(frame(7))
    refused.sent(frame(7))
    refused.may_follow(told(Unavailable(), gate=True), frame(7), 0)
    assert isinstance(refused.verdict(Unavailable()), OutcomeUnknown)
    assert first.incarnation == 7


@pytest.mark.parametrize("key", [None, "k"])
def test_a_caller_says_how_long_to_wait_for_what_has_surely_not_run(key: str | None) -> None:
    busy = Busy("too many calls of our own")
    waited: tuple[CallError, ...] = (Away("starting"), Unavailable("not written"), busy)
    for error in waited:
        retry = Retry(key, wait_s=0.05)
        pauses = 0
        while retry.may_follow(error, b"", 0):
            retry.wait()
            pauses += 1
        assert 3 < pauses < 20
        assert not Retry(key, wait_s=0.0).may_follow(error, b"", 0)
    for error, why in (
        (told(Busy(), gate=True), "the gate's word proves nothing"),
        (told(Busy()), "its handler may have begun and raised it, or passed it on"),
        (told(Unavailable()), "its handler has begun: it did not reach another"),
    ):
        assert not Retry(key, wait_s=5.0).may_follow(error, b"", 0), why
    assert not Retry(None).may_follow(busy, b"", 0), "who has not said so does not wait for it"
