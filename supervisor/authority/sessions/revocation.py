"""Revocation: what ends, who is told, and that it is on the disk. No descriptor is touched here.

Two kinds of things can be revoked. A session, by its id or by that of its token, ends: whoever has a right to a session
opens another one, with another id and other keys; a component gets it at once. A subject (a component or a client) is
shut out: its sessions end, it gets none, and nobody speaks to it, until it is restored by word or by time.

Verifiers are told first, then the state is written: telling is what protects, and a slow disk must not hold it up.
Whoever asked is told last, and whether it is on the disk. When the disk refuses, the service tries again until it is.
To restore goes the other way round: nobody is told what is not on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.model.loop_table import LoopTable
from tlsrt.supervisor.authority.model.services import NoRecorder, Recorder
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.sessions.event_notes import EventNotes, short_id
from tlsrt.supervisor.authority.sessions.key_distribution import KeyDistribution
from tlsrt.supervisor.authority.sessions.manager import CLIENT_TTL_MS, Session, SessionManager

CLOCK_STEP_MS = 3_600_000  # room for a wall clock that is set back

Entry = tuple[str, bytes, int]  # kind, value, until


class RevocationOutcome(NamedTuple):
    """What a revocation did: the sessions that ended, and whether all of it is on the disk."""

    ended: tuple[Session, ...]
    is_stored: bool


class Revocations:
    """Carries out revocations. Times are BOOTTIME in ms, but for `wall`.

    `sessions` are the components'. `keep` writes the state and goes on trying if it cannot; `reopen` gives a component
    the session that it may have.
    """

    def __init__(
        self, roster: LoopTable, manager: SessionManager, sessions: dict[str, Session], clients: ClientSessions,
        state: AuthorityState, herald: KeyDistribution, keep: Callable[[int], bool], persist: Callable[[], bool],
        reopen: Callable[[str, int], None],
    ) -> None:  # fmt: skip
        self._roster = roster
        self._manager = manager
        self._sessions = sessions
        self._clients = clients
        self._state = state
        self._herald = herald
        self._keep = keep
        self._persist = persist
        self._reopen = reopen
        self.notes = EventNotes()  # of what is revoked, before anything follows from it
        self.audit: Callable[[], Recorder] = NoRecorder
        self._returns: dict[str, int] | None = None  # subject: when it may come back. None: not yet looked up
        roster.barred.update(self.subjects())

    def subjects(self) -> dict[str, int]:
        """Return the revoked subjects, and until when, in wall time; 0 is for ever."""
        return {item.value.decode(): item.until for item in self._state.revocations if item.kind == "subject"}

    def revoke_session(self, session_id: bytes, now: int, wall: int) -> RevocationOutcome:
        """End a session."""
        self.notes.note("revocation", f"session {short_id(session_id)}")
        return self._end(self._manager.revoke_session(session_id), [], now, wall)

    def end_subject(self, subject: str, now: int, wall: int) -> RevocationOutcome:
        """End all sessions of a client that is known no more, and write whatever else has changed."""
        self.notes.note("revocation", subject, "is no client any more")
        return self._end(self._manager.revoke_subject(subject), [], now, wall)

    def end_sessions(self, sessions: Iterable[Session], now: int, wall: int) -> RevocationOutcome:
        """End these sessions, and write whatever else has changed."""
        ended = [one for session in sessions for one in self._manager.revoke_session(session.session_id)]
        return self._end(ended, [], now, wall)

    def revoke_token(self, token_id: bytes, now: int, wall: int) -> RevocationOutcome:
        """Refuse a token, and end the session that holds it."""
        self.notes.note("revocation", f"token {short_id(token_id)}")
        ended = self._manager.revoke_token(token_id)
        return self._end(ended, [("token", token_id, until(now, wall, ended))], now, wall)

    def revoke_subjects(self, subjects: Iterable[str], for_ms: int, now: int, wall: int) -> RevocationOutcome:
        """Shut subjects out, for a time or, with 0, until they are restored."""
        ended: list[Session] = []
        entries: list[Entry] = []
        shut = tuple(subjects)
        for subject in shut:
            self.notes.note("revocation", subject, "shut out", for_ms=for_ms)
            ended += self._manager.revoke_subject(subject)
            self._state.forget("subject", subject.encode())
            entries.append(("subject", subject.encode(), wall + for_ms if for_ms else 0))
            self._set_return(subject, now + for_ms if for_ms else 0)
        self._roster.barred.update(shut)
        outcome = self._end(ended, entries, now, wall)
        self._say_mailboxes(shut)
        return outcome

    def revoke_all(self, now: int, wall: int) -> RevocationOutcome:
        """End every session. The epoch moves apart from this."""
        self.notes.note("revocation", "all sessions")
        ended = [session for held in self._manager for session in self._manager.revoke_session(held.session_id)]
        return self._end(ended, [], now, wall)

    def restore(self, subjects: Iterable[str], now: int) -> bool:
        """Let revoked subjects in again; False, and nothing has changed, when the disk refuses."""
        back = [subject for subject in subjects if self._state.is_revoked("subject", subject.encode())]
        before = (self._state.revocation, self._state.revocations)
        numbers = [self._state.restore(subject.encode()) for subject in back]
        if not self._persist():
            self._state.revocation, self._state.revocations = before
            return False
        for subject, number in zip(back, numbers, strict=True):
            self.notes.note("restored", subject)
            self._herald.say_restored(number, subject.encode())
            self._set_return(subject, 0)
            self._roster.barred.discard(subject)
            self._reopen(subject, now)
        self._say_mailboxes(back)
        return True

    def next_return(self) -> int | None:
        """Return when `return_due` has something to do, or None."""
        return 0 if self._returns is None else min(self._returns.values(), default=None)

    def return_due(self, now: int, wall: int, retry_ms: int) -> None:
        """Let those in again whose time is over. Wall time counts at a boot only: setting the clock helps nobody."""
        if self._returns is None:
            self._returns = {
                subject: now + max(0, when - wall) for subject, when in self.subjects().items() if when
            }  # fmt: skip
        due = [subject for subject, when in self._returns.items() if when <= now]
        if not due:
            return
        if not self.restore(due, now):
            self._returns.update(dict.fromkeys(due, now + retry_ms))
            return
        for subject in due:  # how long it was shut out stands in the record of that
            self.audit().note("returned", subject, {}, now, wall)

    def publish(self, entries: Iterable[Entry], now: int, wall: int) -> bool:
        """Tell every verifier, and write; return whether it is on the disk."""
        self._tell(entries, now, wall)
        return self._keep(now)

    def _tell(self, entries: Iterable[Entry], now: int, wall: int) -> None:
        self._state.prune(wall)
        self._herald.say_revoked([self._state.revoke(*entry) for entry in entries], now)

    def _end(self, ended: list[Session], entries: list[Entry], now: int, wall: int) -> RevocationOutcome:
        self._tell([*entries, *map(partial(entry_of, now, wall), ended)], now, wall)
        for session in ended:
            self._clients.ended(session)
            if self._sessions.get(session.subject) is session:
                del self._sessions[session.subject]
                self._reopen(session.subject, now)
        return RevocationOutcome(tuple(ended), self._keep(now))

    def _say_mailboxes(self, subjects: Iterable[str]) -> None:
        """Tell everybody whom these concern whether they can be spoken to now."""
        components = tuple(subject for subject in subjects if self._roster.has(subject))
        if components:
            self._herald.say_mailboxes(components)
            self._clients.push_all(components)

    def _set_return(self, subject: str, when: int) -> None:
        if self._returns is not None:
            self._returns.pop(subject, None)
            if when:
                self._returns[subject] = when


def entry_of(now: int, wall: int, session: Session) -> Entry:
    """Return what is noted of a session that ended."""
    return "session", session.session_id, until(now, wall, [session])


def until(now: int, wall: int, sessions: Iterable[Session]) -> int:
    """Return the wall time in ms when the last token of these sessions has expired, with room for a stepped clock."""
    expiries = [session.expires for session in sessions]
    return wall + (max(expiries) - now if expiries else CLIENT_TTL_MS) + CLOCK_STEP_MS
