"""The feed of a verifier: what synchronises it, what carries it on, and what does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.session.revocations import KEPT_MS, SWEEP_AT
from tlsrt.channels.session.verifier import FEED_SILENCE_MS, Verifier
from tlsrt.errors import PeerError

NOW = 1_000_000
SUBJECT = ["subject", b"third/console"]


def synchronised(*entries: Sequence[object], number: int = 0) -> Verifier:
    verifier = Verifier()
    verifier.snapshot(1, 0, 1, number, NOW, entries, NOW)
    assert verifier.is_synchronised(NOW)
    return verifier


def test_no_beat_synchronises_before_a_snapshot() -> None:
    verifier = Verifier()
    verifier.feed(0, NOW, NOW)
    assert not verifier.is_synchronised(NOW)
    assert verifier.wants_snapshot


def test_beats_carry_on_and_silence_ends() -> None:
    verifier = synchronised()
    for step in range(1, 20):
        verifier.feed(0, NOW + 500 * step, NOW + 500 * step)
    last = NOW + 500 * 19
    assert verifier.is_synchronised(last + FEED_SILENCE_MS - 1)
    assert not verifier.is_synchronised(last + FEED_SILENCE_MS)
    assert not verifier.wants_snapshot


def test_after_silence_only_a_snapshot_helps() -> None:
    verifier = synchronised()
    late = NOW + FEED_SILENCE_MS
    verifier.feed(0, late, late)
    assert not verifier.is_synchronised(late)
    verifier.revoke(1, "session", b"s", late)
    verifier.feed(1, late, late)
    assert not verifier.is_synchronised(late)
    assert verifier.wants_snapshot
    verifier.snapshot(2, 0, 1, 1, late, [], late)
    assert verifier.is_synchronised(late)


def test_the_answer_after_a_rest_carries_on_from_when_it_was_said_and_only_if_nothing_is_missing() -> None:
    late = NOW + 60_000
    verifier = synchronised()
    verifier.awake(0, late, late + 10)
    assert verifier.is_synchronised(late + FEED_SILENCE_MS - 1) and not verifier.is_synchronised(late + FEED_SILENCE_MS)
    verifier.revoke(1, "session", b"s", late)
    verifier.awake(1, late + 60_000, late + 60_000)
    assert verifier.is_synchronised(late + 60_000)
    verifier.awake(2, late + 61_000, late + 61_000)  # a revocation has not come
    assert not verifier.is_synchronised(late + 61_000) and verifier.wants_snapshot
    verifier.awake(1, late + 62_000, late + 62_000)
    assert not verifier.is_synchronised(late + 62_000), "what is missing comes by a snapshot only"


def test_an_answer_that_lay_unread_or_comes_before_any_snapshot_synchronises_nothing() -> None:
    verifier = synchronised()
    verifier.awake(0, NOW + 60_000, NOW + 60_000 + FEED_SILENCE_MS)
    assert not verifier.is_synchronised(NOW + 60_000 + FEED_SILENCE_MS)
    new = Verifier()
    new.awake(0, NOW, NOW)
    assert not new.is_synchronised(NOW) and new.wants_snapshot


def test_a_beat_that_lay_unread_counts_from_when_it_was_said() -> None:
    """A loop that was stopped finds old beats in its channel: they say nothing about now."""
    verifier = synchronised()
    verifier.feed(0, NOW + 500, NOW + 2_900)
    assert not verifier.is_synchronised(NOW + 500 + FEED_SILENCE_MS)
    verifier = synchronised()
    verifier.feed(0, NOW + 10**9, NOW + 100)  # nor does one that was said in the future
    assert not verifier.is_synchronised(NOW + 100 + FEED_SILENCE_MS)
    verifier = Verifier()
    verifier.snapshot(1, 0, 1, 0, NOW, [], NOW + FEED_SILENCE_MS)
    assert not verifier.is_synchronised(NOW + FEED_SILENCE_MS)


@pytest.mark.parametrize("number", [1, 7])
def test_a_beat_with_another_number_than_ours_ends_it(number: int) -> None:
    verifier = synchronised(number=6)
    verifier.feed(number, NOW, NOW)
    assert not verifier.is_synchronised(NOW)
    assert verifier.wants_snapshot


def test_a_gap_in_the_numbers_ends_it_at_once() -> None:
    verifier = synchronised(number=6)
    verifier.revoke(7, "session", b"s", NOW)
    assert verifier.is_synchronised(NOW)
    verifier.revoke(9, "session", b"t", NOW)
    assert not verifier.is_synchronised(NOW)
    assert verifier.revoked.has(b"t", b"", ""), "what came is known all the same"
    verifier.feed(9, NOW, NOW)
    assert not verifier.is_synchronised(NOW)


def test_a_kind_of_a_newer_authority_ends_it() -> None:
    learns: tuple[Callable[[Verifier], object], ...] = (
        lambda verifier: verifier.revoke(1, "planet", b"mars", NOW),
        lambda verifier: verifier.snapshot(2, 0, 1, 1, NOW, [["planet", b"mars"]], NOW),
    )
    for learn in learns:
        verifier = synchronised()
        learn(verifier)
        assert not verifier.is_synchronised(NOW)


@pytest.mark.parametrize("entries", [[1], [["session"]], [["session", "text"]], [[b"session", b"s"]], [("a", b"b")]])
def test_a_snapshot_of_something_else_is_refused(entries: list[object]) -> None:
    with pytest.raises(PeerError, match="bad_snapshot"):
        Verifier().snapshot(1, 0, 1, 0, NOW, entries, NOW)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=12))
def test_only_all_pages_of_one_snapshot_in_order_synchronise(said: list[tuple[int, int]]) -> None:
    verifier = Verifier()
    pages = [[["session", bytes([page])]] for page in range(3)]
    expected = False
    row: list[tuple[int, int]] = []
    for serial, page in said:
        if page < 3:
            verifier.snapshot(serial, page, 3, 9, NOW, pages[page], NOW)
            row = [*row, (serial, page)]
            expected = expected or row[-3:] == [(serial, 0), (serial, 1), (serial, 2)]
        assert verifier.is_synchronised(NOW) == expected
    if expected:
        assert all(verifier.revoked.has(bytes([page]), b"", "") for page in range(3))


def test_a_snapshot_forgives_subjects_and_neither_sessions_nor_tokens() -> None:
    verifier = synchronised(["session", b"s"], ["token", b"t"], SUBJECT, number=3)
    verifier.snapshot(2, 0, 1, 2, NOW, [], NOW)  # of an authority that came again and knows less
    assert verifier.revoked.has(b"s", b"", "") and verifier.revoked.has(b"", b"t", "")
    assert not verifier.revoked.has_subject("third/console")
    verifier.feed(2, NOW, NOW)
    assert verifier.is_synchronised(NOW)


def test_a_subject_comes_back_only_where_nothing_is_missing() -> None:
    verifier = synchronised(SUBJECT, number=1)
    verifier.restore(3, b"third/console")
    assert verifier.revoked.has_subject("third/console")
    verifier = synchronised(SUBJECT, number=1)
    verifier.restore(2, b"third/console")
    assert not verifier.revoked.has_subject("third/console")


def test_what_can_hit_nothing_any_more_is_forgotten() -> None:
    verifier = synchronised(SUBJECT)
    for number in range(10 * SWEEP_AT):
        now = NOW + number * KEPT_MS // SWEEP_AT * 4
        verifier.revoke(number + 1, "session", number.to_bytes(4, "big"), now)
        assert verifier.revoked.has(number.to_bytes(4, "big"), b"", "")
    assert len(verifier.revoked) <= SWEEP_AT + 2
    assert verifier.revoked.has_subject("third/console")


def test_everybody_who_remembers_answers_is_told_of_every_change() -> None:
    verifier = synchronised()
    told: list[str] = []
    verifier.on_change.append(lambda: told.append("changed"))
    verifier.revoke(1, "token", b"t", NOW)
    verifier.restore(2, b"nobody")
    verifier.snapshot(2, 0, 1, 2, NOW, [], NOW)
    assert len(told) == 3
