"""What Primary counts of connections that the door ended, and of offences: bounded, and emptied by telling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tlsrt.budget import Budget
from tlsrt.channels.control.trust import TRUST
from tlsrt.errors import PeerError
from tlsrt.loops.gate.refusals import (
    CLOSED_REASONS,
    REPORT_S,
    WORD_MAX,
    ClosedConnections,
    RecipientReports,
    RefusalReporter,
    Reports,
)


class SlowAuthority:
    """A channel that has no room for a while."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.tries = 0
        self.has_room = asyncio.Event()

    def send(self, name: str, *fields: object) -> None:
        self.tries += 1
        if not self.has_room.is_set():
            raise PeerError("hung")
        self.heard.append((name, *fields))


def note_offences(trust: Reports) -> None:
    reporter = RefusalReporter(trust)
    for _ in range(3):
        reporter.link("third", "bad_magic")


def note_of_recipient(trust: Reports) -> None:
    reports = RecipientReports(trust)
    for _ in range(3):
        reports.over_budget(b"s" * 16, Budget.STREAMS)


@pytest.mark.parametrize("note", [note_offences, note_of_recipient])
def test_what_an_authority_does_not_read_now_is_reported_when_it_does(note: Callable[[Reports], None]) -> None:
    async def scene() -> None:
        trust = SlowAuthority()
        note(trust)
        await asyncio.sleep(0.01)
        assert trust.tries
        trust.has_room.set()
        async with asyncio.timeout(100 * REPORT_S):
            while not trust.heard:
                await asyncio.sleep(REPORT_S / 5)
        (report,) = trust.heard
        assert 3 in report[1][0], report
        tries = trust.tries
        await asyncio.sleep(2 * REPORT_S)
        assert trust.tries == tries, "once"

    asyncio.run(scene())


def test_it_counts_by_reason_and_forgets_what_was_reported() -> None:
    counts = ClosedConnections()
    for address in ("192.0.2.1", "192.0.2.2"):
        counts.note(address, "handshake")
    counts.note("192.0.2.3", "too_many")
    first, second = counts.waiting()
    assert (first, second) == (("192.0.2.2", "handshake", 2), ("192.0.2.3", "too_many", 1))
    counts.forget(first)
    assert counts.waiting() == [second]


def test_a_flood_of_reasons_and_long_words_is_bounded() -> None:
    counts = ClosedConnections()
    for number in range(1000):
        counts.note("a" * 1000, f"{number} " + "x" * 1000)
    counts.note("192.0.2.1", "one more")
    found = counts.waiting()
    assert len(found) == CLOSED_REASONS
    assert all(len(address) == WORD_MAX and len(word) == WORD_MAX for address, word, _ in found)
    assert all(TRUST.encode("turned_away", *entry) for entry in found)
