"""What the authority does with what it is told: joins, sessions, epochs, revocations. No descriptor is touched here.

Theory of operation. The supervisor says which incarnation of a loop lives and that it was looked at; the loop says
that it wants keys; when both are true, it is briefed: welcome, and per epoch the epoch, each component's session and
rights, then revocations, prepare, commit. Everything is an upsert, so a briefing may be repeated. When a loop has
joined, whoever may talk to its components is told the new mailbox keys; when it is Primary, everybody is told the new
gate. When a loop is gone, its sessions are revoked for all.

A resumed authority (same boot) holds no session of the epoch before. It prepares the next one with all loops that it
inherited, without waiting for their `join`, and does not read from them until they are briefed, since what lies in
their channels was said to its predecessor. Clients open their sessions anew: it has Primary end their connections.

A loop that is late for an epoch (see `epoch_change.py`) loses its sessions.

While the host is locked (`locking/host_lock.py`) all other loops are briefed as ever, but nobody has a session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from tlsrt.channels.control.seqpacket import NoFields
from tlsrt.channels.control.trust import EpochNumberMessage
from tlsrt.config.schema import Config, PolicyRule
from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.detection.anomaly_detector import AnomalyDetector
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.epoch_change import EpochChanges
from tlsrt.supervisor.authority.incoming_events import IncomingEvents
from tlsrt.supervisor.authority.keys.epochs import GRACE_MS, Epochs
from tlsrt.supervisor.authority.keys.key_ring import KeyRing
from tlsrt.supervisor.authority.lock.admin import LockAdmin
from tlsrt.supervisor.authority.lock.client_requests import ClientLockRequests
from tlsrt.supervisor.authority.lock.host_lock import HostLock
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry, LoopTable
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.services import Detail, Lock, NoRecorder, NoResponse, Recorder, Response
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.primary_messages import Handler, PrimaryMessages
from tlsrt.supervisor.authority.sessions.admin import SessionAdmin
from tlsrt.supervisor.authority.sessions.event_notes import EVENT_OF_SESSION, EventNotes
from tlsrt.supervisor.authority.sessions.key_distribution import KeyDistribution
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages
from tlsrt.supervisor.authority.sessions.manager import CLIENT, Session, SessionManager
from tlsrt.supervisor.authority.sessions.policy import RightsTable
from tlsrt.supervisor.authority.sessions.revocation import Revocations, entry_of
from tlsrt.supervisor.authority.sessions.states import SessionEvent, SessionState
from tlsrt.supervisor.process.timers import Timers

FEED_MS = 500
WRITE_RETRY_MS = 1_000  # after a state that could not be written
REBRIEF_MS = 250  # a loop that repeats its join is answered, but not more often than this
_BRIEF = "brief "  # and a loop: a timer

Persist = Callable[[], bool]  # write the state; False when the disk refuses


class Part(Protocol):
    """What has times of its own in the authority. Times are BOOTTIME in ms, but for `wall`."""

    def next_due(self) -> int | None:
        """Return when `tick` has something to do."""

    def tick(self, now: int, wall: int) -> None:
        """Do what is due."""


class AuthorityService:
    """The authority's reactions. Times are CLOCK_BOOTTIME in ms, but for `wall`."""

    def __init__(
        self,
        config: Config,
        roster: LoopTable,
        ring: KeyRing,
        briefing: KeyMessages,
        manager: SessionManager,
        epochs: Epochs,
        clients: ClientSessions,
        door: DoorChange,
        state: AuthorityState,
        persist: Persist,
        outlet: Outgoing,
        lock: HostLock,
        client_locks: ClientLockRequests,
    ) -> None:
        self.ring = ring
        self._roster = self.roster = roster
        self._manager = self.manager = manager
        self._epochs = epochs
        self._clients = clients
        self._state = state
        self._persist = persist
        self._outlet = self.outlet = outlet
        self._timers: Timers[str] = Timers()
        self._held: set[str] = set()  # inherited by a resumed authority and not yet briefed
        self._sessions: dict[str, Session] = {}  # by component
        self.door = door
        self._notes = EventNotes()
        self.events = IncomingEvents(roster, outlet)
        self._herald = KeyDistribution(roster, briefing, epochs, state, self._sessions, door, outlet)
        # The rights that a policy would give; raises ConfigError for one that does not fit into tokens.
        self.rights_of_policy: Callable[[tuple[PolicyRule, ...]], RightsTable] = lambda policy: briefing.table
        self.changes = EpochChanges(
            roster, ring, briefing, epochs, manager, clients, state, persist, outlet, self._herald, self._timers,
            int(config.limits.epoch_s * 1000),
        )  # fmt: skip
        self.changes.on_moved = self._brief_all
        self.revoking = Revocations(
            roster, manager, self._sessions, clients, state, self._herald, self.keep, persist, self._reopen
        )  # fmt: skip
        self.desk = SessionAdmin(config, manager, self.revoking, self.changes, outlet)
        clients.on_admitted = self._note_first_open
        self.host_lock = lock
        lock.on_locked, lock.on_unlocked = self._lock_down, self._open_up
        lock.audit = self.desk.audit = clients.audit = self.revoking.audit = lambda: self.audit
        self.office_handlers: dict[str, Callable[[Any, int, int], None]] = {
            **self.desk.handlers, **LockAdmin(lock, outlet).handlers
        }  # fmt: skip
        self.handlers: dict[str, Handler] = {
            "join": self._join,
            "prepared": self._prepared,
            **PrimaryMessages(manager, clients, door, self.events, self._note_turned_away).handlers,
            **client_locks.handlers,
        }
        self.parts: list[Part] = [lock]  # that have their own times
        self.on_joined: list[Callable[[str, int], None]] = []  # a loop has got its keys: its name, and when
        self.audit: Recorder = NoRecorder()
        self._jot: Callable[[str, str, Detail], None] = lambda kind, subject, detail: None  # an ordinary record, now
        self.lock: Lock = lock
        self.response: Response = NoResponse()
        learning = AnomalyDetector(
            manager.find,
            lambda *offence: self.response.add(*offence),
            lambda name, subject, words: self._notes.note(name, subject, words),
        )
        self.handlers["telemetry"] = learning.on_telemetry

    def start(self, now: int, inherited: Iterable[str], *, is_resumed: bool) -> None:
        """Begin; `inherited` are the loops whose channels were there from birth."""
        self._timers.set("feed", now + FEED_MS)
        self._timers.set("epoch", now + self.changes.epoch_ms)
        self.changes.tell_keys(now)
        if not is_resumed:
            return
        self._held = set(inherited)
        for loop in self._held:
            self._roster[loop].wants_keys = True
        grace_ms = 0 if self.host_lock.is_locked else GRACE_MS
        waited_for = self._held - ({GATE} if self.host_lock.is_locked else set())
        self._epochs.begin(self._state.epoch, waited_for, now, grace_ms=grace_ms)
        self.changes.commit_if_ready(now)

    def tell_of_sessions(self, notes: EventNotes) -> None:
        """Note there what becomes of sessions, before it has effects."""
        self._notes = self.revoking.notes = self.host_lock.notes = notes
        self._manager.on_step = notes.session
        self._clients.on_refused = lambda reason: notes.note("client_refused", "door", reason)

    def note(self, name: str, subject: str, words: str = "", /, **fields: str | int) -> None:
        """Note an event for the host's bus."""
        self._notes.note(name, subject, words, **fields)

    def session(self, session_id: bytes) -> Session | None:
        """Return a session that has not ended, or None."""
        return self._manager.find(session_id)

    def record_with(self, recorder: Recorder, times: Callable[[], tuple[int, int]]) -> None:
        """Write down there what happens, from now on; `times` are now and wall."""
        self.audit = recorder
        self._jot = lambda kind, subject, detail: recorder.note(kind, subject, detail, *times())
        told, refused = self._manager.on_step, self._clients.on_refused

        def step(session: Session, event: SessionEvent) -> None:
            told(session, event)
            name = EVENT_OF_SESSION.get(event)
            if name is not None and (event is not SessionEvent.OPEN or session.owner != CLIENT):
                self._jot(name, session.subject, {"session": session.session_id.hex(), "owner": session.owner})

        def refuse(reason: str) -> None:
            refused(reason)
            self._jot("client_refused", "door", {"reason": reason})

        self._manager.on_step, self._clients.on_refused = step, refuse

    @property
    def generation(self) -> tuple[object, ...]:
        """Return what changes with every epoch, respawn and reload."""
        return self._epochs.current, *(member.incarnation for member in self._roster)

    @property
    def revocations(self) -> int:
        """Return how many revocations there were."""
        return self._state.revocation

    def _note_turned_away(self, words: str, count: int) -> None:
        self._notes.note("turned_away", "door", words, count=count)

    def may_read(self, loop: str) -> bool:
        """Tell whether a loop may be listened to."""
        return loop not in self._held and not (loop == GATE and self.host_lock.is_gate_over)

    def state_of(self, loop: str) -> str:
        """Return the state of the conversation with a loop, for the table."""
        member = self._roster[loop]
        return "locked" if member.is_shut else "joined" if member.is_joined else "new"

    # What the supervisor says

    def spawned(self, loop: str, incarnation: int, now: int, wall: int) -> None:
        """Note a new incarnation at the other end of a new channel."""
        member = self._roster[loop]
        self._end(member, now, wall)
        member.reset(incarnation)
        if loop == GATE:
            self.host_lock.gate_born()

    def attested(self, loop: str, incarnation: int, epoch: int, now: int) -> None:
        """Note that the supervisor looked at an incarnation. One that is not the present one says nothing."""
        member = self._roster[loop]
        if member.incarnation == 0:  # inherited by fork: this is the first time that its incarnation is named
            member.incarnation = incarnation
        if incarnation != member.incarnation:
            return
        member.attested = epoch
        self._epochs.attested(loop, epoch)
        self._herald.tell_gate_of(member)
        self._brief_if_due(member, now)
        self.changes.commit_if_ready(now)

    def gone(self, loop: str, incarnation: int, now: int, wall: int) -> None:
        """Note a death; of an incarnation that was replaced it is old news."""
        member = self._roster[loop]
        if member.incarnation in (0, incarnation):
            self._end(member, now, wall)

    # What a loop says

    def heard(self, loop: str, name: str, message: Any, now: int, wall: int) -> None:
        """Handle one message of a loop; raise PeerError if it is wrong."""
        self.handlers[name](self._roster[loop], message, now, wall)

    def lost(self, loop: str, now: int, wall: int) -> None:
        """Forget a loop whose channel was closed, by it or for an offence. It stays without keys until respawned."""
        member = self._roster[loop]
        incarnation = member.incarnation
        self._end(member, now, wall)
        member.incarnation = incarnation  # so that only a new incarnation counts as attested

    def _join(self, member: LoopEntry, message: NoFields, now: int, wall: int) -> None:
        member.wants_keys = True
        wait_until = member.briefed + REBRIEF_MS
        if member.has_door and now < wait_until:
            self._timers.set(_BRIEF + member.loop, wait_until)
        else:
            self._brief_if_due(member, now)

    def _prepared(self, member: LoopEntry, message: EpochNumberMessage, now: int, wall: int) -> None:
        self._epochs.prepared(member.loop, message.epoch)
        self.changes.commit_if_ready(now)

    def taken(self, number: int, now: int, wall: int) -> None:
        """A reload is in force: serve with its files, and end the sessions of clients that may not come in by them."""
        if self.door.take(number):
            self.end_unwelcome(now, wall)

    def end_unwelcome(self, now: int, wall: int) -> None:
        """End the sessions of clients whose certificates have ended or were revoked."""
        for session in self._clients.unwelcome(wall):
            self.revoking.revoke_session(session.session_id, now, wall)

    def _note_first_open(self, subject: str, now: int, wall: int) -> None:
        """Keep when a client came for the first time."""
        if subject not in self._state.first_opens:
            self._state.first_opens[subject] = wall
            self.keep(now)

    # What time says

    def next_due(self, now: int) -> int:
        """Return when `tick` has something to do."""
        if self._clients.has_work:
            return now
        times = (self._timers.next(), self._manager.next_due(), self.revoking.next_return(), self.door.next_due())
        return min(when for when in (*times, *(part.next_due() for part in self.parts)) if when is not None)

    def tick(self, now: int, wall: int) -> int | None:
        """Do what is due; return how late the feed was, in ms, if it was its turn."""
        lateness = None
        for key in self._timers.due(now):
            if key == "feed":
                lateness = self._feed(now)
            elif key == "epoch":
                self.changes.begin_timed(now)
            elif key == "write":
                self.keep(now)
            elif key == "move":
                self.changes.begin_move(now)
            elif key == "rotate":
                self.changes.begin_rotation(now)
            elif key.startswith(_BRIEF):
                self._brief_if_due(self._roster[key.removeprefix(_BRIEF)], now)
        self.changes.commit_if_ready(now)
        while self.changes.late:
            self.lost(self.changes.late.pop(), now, wall)
        self.revoking.return_due(now, wall, WRITE_RETRY_MS)
        self.door.tick(now)
        for part in self.parts:
            part.tick(now, wall)
        if self._renew(now):
            self.end_unwelcome(now, wall)
        self._clients.work(now)
        self.events.hand_on()
        return lateness

    def beat(self, lateness_ms: int) -> None:
        """Tell the supervisor that the authority lives, and the epoch that loops must be attested for."""
        counts = dict.fromkeys((member.loop for member in self._roster.joined), 0) | self._manager.counts()
        self._outlet.tell("beat", lateness_ms * 1000, self._epochs.target, counts)

    # Briefings

    def _brief_if_due(self, member: LoopEntry, now: int) -> None:
        if member.loop == GATE and member.may_get_keys and self._is_gate_settled(member, now):
            return
        if not member.may_get_keys or self.changes.is_held:
            return
        member.wants_keys = False
        is_first = not member.is_joined
        member.is_joined = True
        member.briefed = now
        for component in member.components:
            if component not in self._sessions:
                self._open_session(component, member, now)
        if is_first:
            if member.loop not in self._held:
                is_attested = member.attested is not None and member.attested >= self._epochs.target
                self._epochs.add(member.loop, is_attested=is_attested)
            if member.loop == GATE and member.loop in self._held:
                self._outlet.send(GATE, "ended", b"")  # all sessions that our predecessor has granted
            self._held.discard(member.loop)
        self._herald.brief(member, now)
        for session in self._herald.sessions_of(member):
            if session.state is SessionState.OPENING:
                self._manager.opened(session)
        if is_first:
            self._herald.introduce(member)
            self._clients.push_all(member.components)
            self._outlet.tell("joined", member.loop, member.incarnation)
            detail = {"incarnation": member.incarnation, "epoch": self._epochs.target}
            self._jot("keys_given", member.loop, detail)
            for hook in self.on_joined:
                hook(member.loop, now)

    def _is_gate_settled(self, member: LoopEntry, now: int) -> bool:
        """Deal with a Primary that gets no keys: one of before the lock or its end, or that of a locked host."""
        if self.host_lock.is_gate_over:
            return True
        if self.host_lock.is_locked:
            self._held.discard(GATE)
            self.host_lock.brief_gate(member, now)
        return self.host_lock.is_locked

    def _brief_all(self, now: int) -> None:
        for member in self._roster:
            self._brief_if_due(member, now)

    # Sessions

    def _open_session(self, component: str, member: LoopEntry, now: int) -> None:
        if component not in self._roster.barred and not self.host_lock.is_locked:
            self._sessions[component] = self._manager.open_component(component, member.loop, now)

    def _reopen(self, subject: str, now: int) -> None:
        """Give a component a session; a client asks for one itself."""
        if self.host_lock.is_locked or not self._roster.has(subject):
            return
        if not (member := self._roster.of(subject)).is_joined:
            return
        if self.changes.is_held:
            member.wants_keys = True  # but only those of the epoch that is to come
            return
        self._open_session(subject, member, now)
        session = self._sessions.get(subject)
        if session is not None:
            self._herald.say_session(session)
            self._manager.opened(session)

    def _renew(self, now: int) -> bool:
        """Give new leases; tell whether a client was to get one."""
        has_client = False
        due = self._manager.tick(now)
        for session in due.renewing:
            if self._sessions.get(session.subject) is session:
                self._renew_component(session, now)
            else:
                self._clients.push(session)
                has_client = True
            self._manager.renewed(session)
        for session in due.expired:
            if self._sessions.get(session.subject) is session:
                self._succeed(session, now)
            self._clients.ended(session)
        return has_client

    def _renew_component(self, session: Session, now: int) -> None:
        if session.is_on_last_lease:
            self._succeed(session, now)
            return
        self._herald.renew(session)

    def _succeed(self, session: Session, now: int) -> None:
        """Replace a component's session at the end of its life; what it still has to answer, it answers till then."""
        del self._sessions[session.subject]
        self._reopen(session.subject, now)

    def _end(self, member: LoopEntry, now: int, wall: int) -> None:
        """Revoke all that an incarnation held."""
        if member.loop == GATE:
            self._clients.close_all()
            self.events.clear()
        ended = self._manager.revoke_owner(member.loop)
        self._held.discard(member.loop)
        for component in member.components:
            self._sessions.pop(component, None)
        member.reset(0)
        if ended:
            self.revoking.publish([entry_of(now, wall, session) for session in ended], now, wall)
        self._herald.tell_gate_of(member)
        self._epochs.forget(member.loop)
        self.changes.commit_if_ready(now)

    def _lock_down(self, now: int, wall: int) -> bool:
        """End all sessions, what Primary has, and the epoch; return whether the lock is on the disk."""
        outcome = self.revoking.revoke_all(now, wall)
        self.lost(GATE, now, wall)
        self.changes.leave(now, lambda epoch: None)
        return outcome.is_stored

    def _open_up(self, now: int, wall: int) -> None:
        """Give every component a session, of an epoch that begins now."""
        self.lost(GATE, now, wall)
        for member in self._roster.joined:
            for component in member.components:
                self._open_session(component, member, now)
        self.changes.leave(now, lambda epoch: None)
        for session in self._sessions.values():
            if session.state is SessionState.OPENING:
                self._manager.opened(session)

    def keep(self, now: int) -> bool:
        """Write the state; when the disk refuses, again until it does not. Return whether it is written."""
        if self._persist():
            self._timers.cancel("write")
            return True
        self._timers.set("write", now + WRITE_RETRY_MS)
        return False

    # Feed

    def _feed(self, now: int) -> int:
        lateness = max(0, now - self._feed_at) if self._feed_at else 0
        self._feed_at = now - now % FEED_MS + FEED_MS  # when the supervisor looks too: see EventLoop.call_next
        self._timers.set("feed", self._feed_at)
        for member in self._roster.joined:
            if not self._outlet.is_blocked(member.loop):
                self._herald.say_feed(member, now)
        return lateness

    _feed_at = 0
