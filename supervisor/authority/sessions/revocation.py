"""Revocation: tell every verifier first, write second, answer last. Pure.

Two kinds of things can be revoked. A session, by its id or by that of its token, ends: its holder may open another one,
with another id and other keys; a component gets it at once. A subject (a component or a client) is blocked: its
sessions end, it gets none, and no loop calls it, until it is restored by the operator or by time.

1. Every verifier is told: that is what protects, and a slow disk must not hold it up (`_tell`, `_end`).
2. The state is written; when the disk refuses, again until it is persisted (StateWriter.keep).
3. The requester is answered when it is persisted, or told that it is not yet.

To restore goes the other way round: no verifier is told what is not persisted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from tlsrt.channels.clock import Moment
from tlsrt.errors import NotFound
from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.model.context import AuthorityContext, Undo
from tlsrt.supervisor.authority.model.ports import Service
from tlsrt.supervisor.authority.model.state_writer import RETRY_MS
from tlsrt.supervisor.authority.sessions.event_notes import short_id
from tlsrt.supervisor.authority.sessions.key_distribution import KeyDistribution
from tlsrt.supervisor.authority.sessions.manager import CLIENT_TTL_MS, Session
from tlsrt.supervisor.messages.result_codes import ROWS_MAX, ResultCode

CLOCK_STEP_MS = 3_600_000  # room for a wall clock that is set back

Entry = tuple[str, bytes, int]  # kind, value, until


Ended = tuple[Session, ...]


class RevocationOwner(Protocol):
    """What opens the sessions of components."""

    def reopen(self, subject: str, now: int) -> None:
        """Give a component the session that it may have."""


class Restoration:
    """A restore under way: a change of the state that leaves alone what was revoked again after it was asked for."""

    def __init__(self, revocations: Revocations, subjects: Iterable[str]) -> None:
        self._revocations = revocations
        self._serials = {subject: revocations.serial_of(subject) for subject in subjects}
        self._back: dict[str, int] = {}  # with the numbers of their restoration
        revocations.returning.update(self._serials.keys())

    def change(self) -> Undo:
        """Take the subjects off the list; return what undoes it. Raises NotFound if all were revoked again."""
        names = self._names()
        if self._serials and not names:
            raise NotFound(f"{', '.join(self._serials)} was revoked again meanwhile and stays so")
        self._back = {name: 0 for name in names if self._revocations.is_revoked(name)}
        return self._revocations.forget(self._back)

    def written(self, now: int) -> list[str]:
        """Tell every verifier. Return the subjects that are not revoked any more."""
        self.end()
        self._revocations.restored(self._back, now)
        return self._names()

    def end(self) -> None:
        """It is under way no more."""
        self._revocations.returning.subtract(self._serials.keys())
        self._revocations.returning += Counter()  # which drops those that are 0

    def _names(self) -> list[str]:
        return [name for name, serial in self._serials.items() if self._revocations.serial_of(name) == serial]


class Revocations(Service):
    """Carries out revocations. `sessions` are the components'."""

    def __init__(
        self, context: AuthorityContext, sessions: dict[str, Session], clients: ClientSessions,
        distribution: KeyDistribution, owner: RevocationOwner,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = context.loops
        self._manager = context.sessions
        self._sessions = sessions
        self._clients = clients
        self._state = context.state
        self._distribution = distribution
        self._writer = context.writer
        self._owner = owner
        self._notes = context.notes  # of what is revoked, before anything follows from it
        self._recorder = context.recorder
        self._returns: dict[str, int] | None = None  # subject: when it may come back (BOOTTIME). None: not looked up
        self._serials: dict[str, int] = {}  # subject: how often it was revoked in this life
        self.returning: Counter[str] = Counter()  # subject: restorations of it that are under way
        self._loops.barred.update(self.subjects())

    def subjects(self) -> dict[str, int]:
        """Return the revoked subjects, and until when, in wall time; 0 is for ever."""
        return {item.value.decode(): item.until for item in self._state.revocations if item.kind == "subject"}

    def left(self, moment: Moment) -> dict[str, int]:
        """Return for how many ms each revoked subject is still out, by the clock that restores it; 0 is for ever."""
        ends = self._look_up(moment)
        return {
            subject: max(1, ends.get(subject, moment.now) - moment.now) if until else 0
            for subject, until in self.subjects().items()
        }

    def revoke_session(self, session_id: bytes, moment: Moment) -> Ended:
        """End a session."""
        self._notes.note("revocation", f"session {short_id(session_id)}")
        return self._end(self._manager.revoke_session(session_id), [], moment)

    def end_subject(self, subject: str, moment: Moment) -> Ended:
        """End all sessions of a client that is known no more, and write whatever else has changed."""
        self._notes.note("revocation", subject, "is no client any more")
        ended = self._end(self._manager.revoke_subject(subject), [], moment)
        self._distribution.send_subject_ended(subject)
        return ended

    def end_sessions(self, sessions: Iterable[Session], moment: Moment) -> Ended:
        """End these sessions, and write whatever else has changed."""
        ended = [one for session in sessions for one in self._manager.revoke_session(session.session_id)]
        return self._end(ended, [], moment)

    def revoke_token(self, token_id: bytes, moment: Moment) -> Ended:
        """Refuse a token, and end the session that holds it."""
        self._notes.note("revocation", f"token {short_id(token_id)}")
        ended = self._manager.revoke_token(token_id)
        return self._end(ended, [("token", token_id, until(moment, ended))], moment)

    def revoke_subjects(self, subjects: Iterable[str], for_ms: int, moment: Moment) -> Ended:
        """Shut subjects out, for a time or, with 0, until they are restored."""
        ended: list[Session] = []
        entries: list[Entry] = []
        shut = tuple(subjects)
        for subject in shut:
            self._serials[subject] = self._serials.get(subject, 0) + 1
            self._notes.note("revocation", subject, "blocked", for_ms=for_ms)
            ended += self._manager.revoke_subject(subject)
            self._state.forget("subject", subject.encode())
            entries.append(("subject", subject.encode(), moment.wall + for_ms if for_ms else 0))
            self._set_return(subject, moment.now + for_ms if for_ms else 0)
        self._loops.barred.update(shut)
        outcome = self._end(ended, entries, moment)
        self._send_mailboxes(shut)
        return outcome

    def revoke_all(self, moment: Moment) -> Ended:
        """End every session. The epoch moves apart from this."""
        self._notes.note("revocation", "all sessions")
        ended = [session for held in self._manager for session in self._manager.revoke_session(held.session_id)]
        return self._end(ended, [], moment)

    def restore(
        self, subjects: Iterable[str], now: int, done: Callable[[list[str]], None], refused: Callable[[str], None]
    ) -> None:
        """Let revoked subjects in again, and call `done` with those that are. `refused`: nothing has changed."""
        restoration = self.restoration(subjects)

        def not_written(sentence: str) -> None:
            restoration.end()
            refused(sentence)

        self._writer.change(restoration.change, lambda: done(restoration.written(self._context.now)), not_written, now)

    def restoration(self, subjects: Iterable[str]) -> Restoration:
        """Begin to let subjects in again. What is revoked from now on stays so, also if it is written first."""
        return Restoration(self, subjects)

    def serial_of(self, subject: str) -> int:
        """Return how often a subject was revoked in this life."""
        return self._serials.get(subject, 0)

    def is_revoked(self, subject: str) -> bool:
        return self._state.is_revoked("subject", subject.encode())

    def forget(self, back: dict[str, int]) -> Undo:
        """Take subjects off the list, and number that; return what undoes it. Then write, and call `restored`."""
        before = (self._state.revocation, self._state.revocations)
        for subject in back:
            back[subject] = self._state.restore(subject.encode())

        def undo() -> None:
            self._state.revocation, self._state.revocations = before

        return undo

    def restored(self, back: Mapping[str, int], now: int) -> None:
        """Tell every verifier of subjects that are off the list, and open their sessions."""
        for subject, number in back.items():
            self._notes.note("restored", subject)
            self._distribution.send_restored(number, subject.encode())
            self._set_return(subject, 0)
            self._loops.barred.discard(subject)
            self._owner.reopen(subject, now)
        self._send_mailboxes(back)

    def next_due(self) -> int | None:
        return 0 if self._returns is None else min(self._returns.values(), default=None)

    def tick(self, moment: Moment) -> None:
        """Restore subjects whose time is over. Wall time counts at a boot only, so setting the clock has no effect."""
        returns = self._look_up(moment)
        due = [subject for subject, when in returns.items() if when <= moment.now]
        if not due:
            return
        for subject in due:  # they come off the list when that is written
            del returns[subject]

        def done(names: list[str]) -> None:
            for subject in names:  # how long it was blocked stands in the record of that
                self._recorder.note("returned", subject, {}, self._context.moment())

        serials = {subject: self.serial_of(subject) for subject in due}

        def refused(sentence: str) -> None:
            revoked = self.subjects()
            for subject in due:
                if revoked.get(subject) and self.serial_of(subject) == serials[subject]:
                    self._set_return(subject, self._context.now + RETRY_MS)

        self.restore(due, moment.now, done, refused)

    def _look_up(self, moment: Moment) -> dict[str, int]:
        if self._returns is None:
            self._returns = {
                subject: moment.now + max(0, when - moment.wall) for subject, when in self.subjects().items() if when
            }  # fmt: skip
        return self._returns

    def publish(self, entries: Iterable[Entry], moment: Moment) -> None:
        """Tell every verifier, and write."""
        self._tell(entries, moment)
        self._writer.keep(moment.now)

    def _tell(self, entries: Iterable[Entry], moment: Moment) -> None:
        self._state.prune(moment.wall)
        self._distribution.send_revoked([self._state.revoke(*entry) for entry in entries], moment.now)

    def _end(self, ended: list[Session], entries: list[Entry], moment: Moment) -> Ended:
        self._tell([*entries, *map(partial(entry_of, moment), ended)], moment)
        for session in ended:
            self._clients.ended(session)
            if self._sessions.get(session.subject) is session:
                del self._sessions[session.subject]
                self._owner.reopen(session.subject, moment.now)
        self._writer.keep(moment.now)
        return tuple(ended)

    def _send_mailboxes(self, subjects: Iterable[str]) -> None:
        """Tell every loop with a right to these components whether they can be called now."""
        components = tuple(subject for subject in subjects if self._loops.has(subject))
        if components:
            self._distribution.send_mailboxes(components)
            self._clients.push_all(components)

    def _set_return(self, subject: str, when: int) -> None:
        if self._returns is not None:
            self._returns.pop(subject, None)
            if when:
                self._returns[subject] = when


def stored_code(*, is_stored: bool) -> ResultCode:
    """Return the code of an answer about what is in force, whether or not it is persisted."""
    return ResultCode.DONE if is_stored else ResultCode.UNWRITTEN


def outcome_rows(ended: Ended, first: list[list[object]]) -> list[object]:
    """Return the rows of an answer about what has ended, behind the first ones."""
    sessions = [["session", each.session_id.hex(), each.subject, each.owner] for each in ended[:ROWS_MAX]]
    return [*first, ["count", len(ended)], *sessions]


def entry_of(moment: Moment, session: Session) -> Entry:
    """Return what is noted of a session that ended."""
    return "session", session.session_id, until(moment, [session])


def until(moment: Moment, sessions: Iterable[Session]) -> int:
    """Return when the last token of these sessions has expired (wall, ms), with room for a stepped clock."""
    expiries = [session.expires for session in sessions]
    return moment.wall + (max(expiries) - moment.now if expiries else CLIENT_TTL_MS) + CLOCK_STEP_MS
