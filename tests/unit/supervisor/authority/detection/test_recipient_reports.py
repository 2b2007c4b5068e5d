"""Whom recipients' words speak against: no captured loop accuses Primary, and a captured Primary is found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.loops.gate.refusals import REPORTED
from tlsrt.supervisor.authority.detection.recipient_reports import (
    ROWS_MAX,
    SESSIONS_MAX,
    WINDOW_MS,
    WORD_MAX,
    RecipientReportTable,
    Suspect,
)
from tlsrt.supervisor.authority.detection.recipient_reports import recipient_reports_untrusted as parsed

GATE = "primary"
LOOPS = ("secondary", "third", "forth", "external")
OF_THIRD, OF_EXTERNAL, OF_PRIMARY, OF_CLIENT = (bytes([number]) * 16 for number in range(4))
SENDER = {OF_THIRD: "third", OF_EXTERNAL: "external", OF_PRIMARY: GATE, OF_CLIENT: ""}
WORDS = st.lists(
    st.tuples(st.sampled_from(LOOPS), st.sampled_from(sorted(SENDER)), st.integers(0, 20_000)), max_size=40
)


def heard(witnesses: RecipientReportTable, recipient: str, session: bytes, now: int = 0) -> set[Suspect]:
    return witnesses.heard(recipient, session, SENDER[session], now)


@given(st.sampled_from(LOOPS), WORDS)
def test_a_loop_that_is_a_party_to_all_of_it_accuses_nobody_but_senders(
    captured: str, words: list[tuple[str, bytes, int]]
) -> None:
    """It sends what others refuse, and says whatever it likes of others' frames."""
    witnesses, now = RecipientReportTable(GATE), 0
    for recipient, session, pause in words:
        now += pause
        if captured in (recipient, SENDER[session]):
            assert Suspect.GATE not in heard(witnesses, recipient, session, now)


@given(st.sampled_from(LOOPS), st.lists(st.sampled_from(sorted(SENDER)), max_size=40))
def test_the_word_of_one_recipient_charges_nobody(liar: str, sessions: list[bytes]) -> None:
    witnesses = RecipientReportTable(GATE)
    assert all(heard(witnesses, liar, session) == {Suspect.UNKNOWN} for session in sessions)


@given(WORDS)
def test_frames_of_clients_never_accuse_primary(words: list[tuple[str, bytes, int]]) -> None:
    witnesses = RecipientReportTable(GATE)
    assert all(Suspect.GATE not in heard(witnesses, recipient, OF_CLIENT) for recipient, _, _ in words)


def test_two_pairs_without_a_loop_in_common_and_a_triangle_speak_against_primary() -> None:
    pairs = RecipientReportTable(GATE)
    assert heard(pairs, "secondary", OF_THIRD) == {Suspect.UNKNOWN}
    assert heard(pairs, "forth", OF_EXTERNAL) == {Suspect.UNKNOWN, Suspect.GATE}
    triangle = RecipientReportTable(GATE)
    assert heard(triangle, "secondary", OF_THIRD) == heard(triangle, "external", OF_THIRD) - {Suspect.SENDER}
    assert Suspect.GATE in heard(triangle, "secondary", OF_EXTERNAL)
    assert Suspect.GATE not in heard(triangle, "secondary", OF_EXTERNAL), "it was said; one more pair says nothing anew"


def test_what_primary_sends_itself_is_the_word_of_its_recipient_alone() -> None:
    witnesses = RecipientReportTable(GATE)
    assert Suspect.GATE not in heard(witnesses, "secondary", OF_PRIMARY)
    assert Suspect.GATE not in heard(witnesses, "secondary", OF_THIRD)
    assert Suspect.GATE in heard(witnesses, "third", OF_PRIMARY)


def test_a_sender_is_charged_by_two_others_within_a_minute_and_not_by_itself() -> None:
    witnesses = RecipientReportTable(GATE)
    heard(witnesses, "third", OF_THIRD)
    assert heard(witnesses, "secondary", OF_THIRD, 1) == {Suspect.UNKNOWN}
    assert heard(witnesses, "external", OF_THIRD, WINDOW_MS) == {Suspect.UNKNOWN, Suspect.SENDER}
    assert heard(witnesses, "forth", OF_THIRD, 2 * WINDOW_MS) == {Suspect.UNKNOWN}


def test_a_pair_is_forgotten_after_a_minute() -> None:
    witnesses = RecipientReportTable(GATE)
    heard(witnesses, "secondary", OF_THIRD)
    assert heard(witnesses, "forth", OF_EXTERNAL, WINDOW_MS) == {Suspect.UNKNOWN}


def test_what_is_kept_is_bounded() -> None:
    witnesses = RecipientReportTable(GATE)
    for number in range(2 * SESSIONS_MAX):
        witnesses.heard("secondary", number.to_bytes(16, "big"), "third", 0)
    assert len(witnesses._of_session) == SESSIONS_MAX and len(witnesses._pairs) == 1


def test_only_what_cannot_happen_by_accident_is_told() -> None:
    innocent = {
        "unsynchronised", "stale_epoch", "stale_mailbox", "revoked", "unavailable", "deadline", "token_expired",
        "token_not_yet", "token_epoch", "token_key_version", "unasked_reply", "too_many_sessions", "not_mine",
        "deadline_too_far", "bad_refusal",
    }  # fmt: skip
    assert not REPORTED & innocent


@pytest.mark.parametrize("row", [
    [], [bytes(16), "w"], [bytes(15), "w", 1], ["s" * 16, "w", 1], [bytes(16), "w", 0], [bytes(16), "w", 1 << 32],
    [bytes(16), "w" * (WORD_MAX + 1), 1], [bytes(16), b"w", 1], None,
])  # fmt: skip
def test_what_is_no_testimony_is_refused(row: Any) -> None:
    assert parsed([[bytes(16), "w" * WORD_MAX, 1]]) == [(bytes(16), "w" * WORD_MAX, 1)]
    with pytest.raises(PeerError, match="bad_testimony"):
        parsed([[bytes(16), "w", 1], row])
    with pytest.raises(PeerError, match="bad_testimony"):
        parsed([[bytes(16), "w", 1]] * (ROWS_MAX + 1))
