"""What the authority notes for the supervisor: bounded in number, rate and size, and no note is lost unsaid."""

from __future__ import annotations

from fakes.ports import NoRecorder
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.seqpacket import ControlChannel, control_pair
from tlsrt.supervisor.authority.sessions.event_notes import EVERY_MS, PAGE, WAITING_MAX, EventNotes, SessionLog
from tlsrt.supervisor.authority.sessions.manager import SessionManager
from tlsrt.supervisor.authority.sessions.states import SessionEvent
from tlsrt.supervisor.events.catalog import EVENTS
from tlsrt.supervisor.events.sources import OF_AUTHORITY


def drained(notes: EventNotes, now: int = 0) -> list[list[object]]:
    found: list[list[object]] = []
    while page := notes.page(now):
        found += page
        notes.told(len(page), now)
        now += EVERY_MS
    return found


@given(st.lists(st.one_of(st.integers(1, 700), st.just(0)), max_size=12))
def test_every_note_is_told_in_order_or_counted(steps: list[int]) -> None:
    notes = EventNotes()
    told: list[list[object]] = []
    now, number = 0, 0
    for step in steps:
        for _ in range(step):
            notes.note("client_refused", "door", str(number))
            number += 1
        if not step and (page := notes.page(now)):
            assert len(page) <= PAGE
            told += page
            notes.told(len(page), now)
            assert not notes.page(now + EVERY_MS - 1)
            now += EVERY_MS
        assert len(notes._waiting) <= WAITING_MAX + 1
    told += drained(notes, now)
    lost = sum(fields["lost"] for name, _, _, fields in told if name == "notes_lost")  # type: ignore[index]
    numbers = [int(str(words)) for name, _, words, _ in told if name == "client_refused"]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + lost == number


def test_the_largest_page_fits_into_a_packet() -> None:
    notes = EventNotes()
    for _ in range(PAGE):
        notes.note("session_quarantined", "ä" * 80, "\U0001f642" * 1000, session="f" * 32, owner="o" * 80)
    assert len(AUTHORITY_CHANNEL.encode("noted", notes.page(0))) < AUTHORITY_CHANNEL.cap


def test_who_cannot_be_told_now_is_told_later() -> None:
    notes = EventNotes()
    notes.note("client_refused", "door", "expired")
    assert notes.page(10) == notes.page(10)
    notes.held_up(10)
    assert notes.page(10) == []
    assert notes.next_due() == 10 + EVERY_MS
    assert len(notes.page(10 + EVERY_MS)) == 1
    notes.told(1, 10 + EVERY_MS)
    assert notes.next_due() is None


def test_a_supervisor_that_does_not_read_is_not_waited_for_and_one_that_is_gone_is_said() -> None:
    ours, theirs = (ControlChannel(end, AUTHORITY_CHANNEL) for end in control_pair())
    notes = EventNotes()
    now = 0
    while notes.next_due() is None:  # until the channel is full
        notes.note("client_refused", "door", "x" * 100)
        now += EVERY_MS
        assert notes.tell(ours, now) == ""
    assert notes.tell(ours, now + EVERY_MS) == ""
    theirs.close()
    assert notes.tell(ours, now + 2 * EVERY_MS) == "closed"
    ours.close()


def test_every_step_of_a_session_but_its_renewal_is_noted_before_it_is_taken() -> None:
    numbers = iter(range(1, 100))
    notes = EventNotes()
    log = SessionLog(notes, NoRecorder(), lambda: Moment(0, 0))
    manager = SessionManager(lambda size: next(numbers).to_bytes(size, "big"), log)
    first, second, third = (manager.open_client("client/admin", b"", 0) for _ in range(3))
    for session in (first, second, third):
        manager.opened(session)
    for session in manager.tick(first.issued + first.ttl * 2 // 3).renewing:
        manager.renewed(session)
    manager.close(first)
    manager.quarantine(second)
    manager.revoke_subject("client/admin")
    found = drained(notes)
    assert [name for name, *_ in found] == [
        *["session_opened"] * 3, "session_closed", "session_quarantined", "session_revoked", "session_revoked",
    ]  # fmt: skip
    assert found[0][1:] == ["client/admin", "", {"session": "00000000", "owner": "client"}]
    assert {str(name) for name, *_ in found} <= OF_AUTHORITY <= set(EVENTS)


def test_an_expired_session_is_noted() -> None:
    notes = EventNotes()
    log = SessionLog(notes, NoRecorder(), lambda: Moment(0, 0))
    manager = SessionManager(lambda size: bytes(size), log)
    session = manager.open_component("third/io", "third", 0)
    log.stepped(session, SessionEvent.RENEW)
    manager.tick(10**9)
    assert [note[0] for note in drained(notes)] == ["session_expired"]
