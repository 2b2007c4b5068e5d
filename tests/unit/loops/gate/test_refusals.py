"""What Primary counts of connections that the door ended: bounded, and emptied by telling."""

from __future__ import annotations

from tlsrt.channels.control.trust import TRUST
from tlsrt.loops.gate.refusals import CLOSED_REASONS, WORD_MAX, ClosedConnections


def test_it_counts_by_reason_and_forgets() -> None:
    counts = ClosedConnections()
    for address in ("192.0.2.1", "192.0.2.2"):
        counts.note(address, "handshake")
    counts.note("192.0.2.3", "too_many")
    assert counts.take() == [("192.0.2.2", "handshake", 2), ("192.0.2.3", "too_many", 1)]
    assert counts.take() == []


def test_a_flood_of_reasons_and_long_words_is_bounded() -> None:
    counts = ClosedConnections()
    for number in range(1000):
        counts.note("a" * 1000, f"{number} " + "x" * 1000)
    counts.note("192.0.2.1", "one more")
    found = counts.take()
    assert len(found) == CLOSED_REASONS
    assert all(len(address) == WORD_MAX and len(word) == WORD_MAX for address, word, _ in found)
    assert all(TRUST.encode("turned_away", *entry) for entry in found)
