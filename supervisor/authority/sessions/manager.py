"""Session manager: every session of the host, its token's lease, and its renewal. Pure.

Time is CLOCK_BOOTTIME in ms and comes in as an argument; randomness is a callable given once. Tokens are not minted
here: a session carries the lease (token id, issued, expires) that a token is minted for, once per epoch.

Invariants, held by the property tests: a session never leaves revoked, expired or closed; a lease never outlives its
session; renewal keeps session id and end; no id is ever given twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from tlsrt.errors import MisuseError
from tlsrt.supervisor.authority.sessions.states import ENDED, WORKING, SessionEvent, SessionState, next_state
from tlsrt.supervisor.process.timers import Timers

COMPONENT_TTL_MS = 60_000
CLIENT_TTL_MS = 300_000
MAXIMUM_LIFE_MS = 8 * 3600 * 1000
ID_BYTES = 16
JITTER = 0.1  # of the half-life, to either side, so that sessions which began together do not renew together
CLIENT = "client"
ADDRESS_MAX = 64  # characters: the longest IPv6 address with a zone has fewer

Randomness = Callable[[int], bytes]


@dataclass(slots=True)
class Session:
    """One session. `owner` is the loop that holds it, or `client`; times are ms."""

    session_id: bytes
    subject: str
    owner: str
    ttl: int
    opened: int
    ends: int
    confirmation: bytes = b""
    state: SessionState = SessionState.OPENING
    token_id: bytes = b""
    issued: int = 0
    expires: int = 0
    renewals: int = 0
    heard: int = 0  # when it last sent something, by the word of Primary, to about ten seconds
    address: str = ""  # where a client came from, by the word of Primary: for people, and nothing depends on it
    tokens: dict[int, bytes] = field(default_factory=dict[int, bytes], repr=False)  # of this lease, by epoch

    @property
    def is_working(self) -> bool:
        return self.state in WORKING

    @property
    def is_on_last_lease(self) -> bool:
        """Tell whether no further renewal is possible."""
        return self.expires >= self.ends


@dataclass(frozen=True, slots=True)
class RenewalDue:
    """What a tick found: sessions with a new lease to deliver, and sessions that ended."""

    renewing: tuple[Session, ...]
    expired: tuple[Session, ...]


class StepLog(Protocol):
    """What notes each step of a session, before it has effects."""

    def stepped(self, session: Session, event: SessionEvent) -> None: ...


class SessionManager:
    """Opens, renews, expires, revokes, quarantines and closes sessions."""

    def __init__(self, randomness: Randomness, log: StepLog | None = None) -> None:
        self._randomness = randomness
        self._log = log
        self._sessions: dict[bytes, Session] = {}
        self._ended: list[bytes] = []
        self._timers: Timers[bytes] = Timers()

    def open_component(self, subject: str, loop: str, now: int) -> Session:
        """Return a new session of a component, in state opening."""
        return self._open(subject, loop, COMPONENT_TTL_MS, now, b"")

    def open_client(self, subject: str, confirmation: bytes, now: int) -> Session:
        """Return a new session of an external client, bound to the hash of its certificate."""
        return self._open(subject, CLIENT, CLIENT_TTL_MS, now, confirmation)

    def opened(self, session: Session) -> None:
        """Note that the holder has the keys."""
        self._step(session, SessionEvent.OPEN)

    def tick(self, now: int) -> RenewalDue:
        """Begin what is due: give new leases, end what is over. Answer each renewing session with `renewed`."""
        renewing: list[Session] = []
        expired: list[Session] = []
        for session_id in self._timers.due(now):
            session = self._sessions[session_id]
            if now >= session.ends or session.state is not SessionState.ACTIVE:
                self._step(session, SessionEvent.EXPIRE)
                expired.append(session)
            else:
                self._step(session, SessionEvent.RENEW)
                self._lease(session, now)
                session.renewals += 1
                renewing.append(session)
        return RenewalDue(tuple(renewing), tuple(expired))

    def renewed(self, session: Session) -> None:
        """Note that the new lease was delivered."""
        self._step(session, SessionEvent.RENEWED)

    def take_ended(self) -> list[bytes]:
        """Return the sessions that were closed or have expired since the last call; those revoked are told apart."""
        ended, self._ended = self._ended, []
        return ended

    def next_due(self) -> int | None:
        """Return when `tick` or `take_ended` has something to do, or None."""
        return 0 if self._ended else self._timers.next()

    def close(self, session: Session) -> None:
        """End a session that its holder has closed."""
        self._step(session, SessionEvent.CLOSE)

    def quarantine(self, session: Session) -> None:
        """Take a session out of work; it stays listed until its end."""
        self._step(session, SessionEvent.QUARANTINE)
        self._timers.set(session.session_id, session.ends)

    def revoke_session(self, session_id: bytes) -> list[Session]:
        """End a session by its id; return what ended."""
        session = self._sessions.get(session_id)
        return self._revoke([session] if session is not None else [])

    def revoke_token(self, token_id: bytes) -> list[Session]:
        """End the session whose present token has this id, as its next one would leak too."""
        return self._revoke([session for session in self if session.token_id == token_id])

    def revoke_subject(self, subject: str) -> list[Session]:
        """End all sessions of a subject."""
        return self._revoke([session for session in self if session.subject == subject])

    def revoke_owner(self, owner: str) -> list[Session]:
        """End all sessions that a loop holds."""
        return self._revoke([session for session in self if session.owner == owner])

    def note_address(self, session_id: bytes, address: str) -> None:
        """Note where a client came from, as Primary says."""
        session = self._sessions.get(session_id)
        if session is not None and session.owner == CLIENT:
            session.address = address[:ADDRESS_MAX]

    def note_traffic(self, session_id: bytes, now: int) -> Session | None:
        """Note that a session sends frames, as Primary says; return it, or None if it has ended."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.heard = now
        return session

    def find(self, session_id: bytes) -> Session | None:
        """Return a session that has not ended, or None."""
        return self._sessions.get(session_id)

    def counts(self) -> dict[str, int]:
        """Return the number of working sessions by owner."""
        counts: dict[str, int] = {}
        for session in self._sessions.values():
            if session.is_working:
                counts[session.owner] = counts.get(session.owner, 0) + 1
        return counts

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def _open(self, subject: str, owner: str, ttl: int, now: int, confirmation: bytes) -> Session:
        session_id = self._randomness(ID_BYTES)
        if session_id in self._sessions:
            raise MisuseError("the source of randomness repeats itself")
        session = Session(session_id, subject, owner, ttl, now, now + MAXIMUM_LIFE_MS, confirmation, heard=now)
        self._sessions[session_id] = session
        self._lease(session, now)
        return session

    def _lease(self, session: Session, now: int) -> None:
        session.token_id = self._randomness(ID_BYTES)
        session.issued = now
        session.expires = min(now + session.ttl, session.ends)
        session.tokens.clear()
        share = int.from_bytes(self._randomness(2), "big") / 65535 * 2 - 1  # -1 to 1
        half_life = int(session.ttl / 2 * (1 + JITTER * share))
        when = session.ends if session.is_on_last_lease else now + half_life
        self._timers.set(session.session_id, when)

    def _revoke(self, sessions: list[Session]) -> list[Session]:
        for session in sessions:
            self._step(session, SessionEvent.REVOKE)
        return sessions

    def _step(self, session: Session, event: SessionEvent) -> None:
        state = next_state(session.state, event)
        if self._log is not None:
            self._log.stepped(session, event)
        session.state = state
        if session.state in ENDED:
            session.tokens.clear()
            self._timers.cancel(session.session_id)
            self._sessions.pop(session.session_id, None)
            if event is not SessionEvent.REVOKE:
                self._ended.append(session.session_id)
