"""Provisioning: gives each attested loop its keys and sessions, and revokes them at its end.

Theory of operation. The supervisor says which incarnation of a loop lives and that it was attested; the loop says that
it wants keys; when both are true, it is provisioned: welcome, and per epoch the epoch, each component's session and
rights, then revocations, prepare, commit. Everything is an upsert, so all of it may be sent again. When a loop has
joined, every loop with a right to its components is sent the new mailbox keys; when it is Primary, all are sent the new
gate. When a loop's process ends, its sessions are revoked for all.

A resumed authority (same boot) holds no session of the epoch before. It prepares the next one with all loops that it
inherited, without waiting for their `join`, and does not read from them until they are provisioned, since what lies in
their channels was said to its predecessor. Clients open their sessions anew: it has Primary end their connections.

A loop that is late for an epoch (see `epoch_change.py`) loses its sessions.

While the host is locked (`lock/host_lock.py`) all other loops are provisioned as ever, but no session is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import AttestedMessage, GoneMessage, SpawnedMessage
from tlsrt.channels.control.seqpacket import NoFields
from tlsrt.channels.control.trust import EpochNumberMessage
from tlsrt.supervisor.authority.clients.certificates import ClientCertificates
from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.epoch_change import EpochChanges
from tlsrt.supervisor.authority.incoming_events import IncomingEvents
from tlsrt.supervisor.authority.keys.epochs import GRACE_MS
from tlsrt.supervisor.authority.lock.host_lock import HostLock
from tlsrt.supervisor.authority.model.client_registry import Registry, in_use
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.ports import LoopHandler, Service, SupervisorHandler
from tlsrt.supervisor.authority.sessions.key_distribution import KeyDistribution
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages
from tlsrt.supervisor.authority.sessions.manager import Session
from tlsrt.supervisor.authority.sessions.revocation import Revocations, entry_of
from tlsrt.supervisor.authority.sessions.states import SessionState
from tlsrt.supervisor.process.timers import Timers

FEED_MS = 500
REPEAT_MS = 250  # a loop that repeats its join is answered, but not more often than this
_PROVISION = "provision "  # and a loop: a timer


class Provisioner(Service):
    """Owns the components' sessions, and clients, epochs, revocations and the lock.

    These call it back as their owner: `client_opened`, `provision_all`, `reopen`, `lock_down`, `open_up`.
    """

    def __init__(
        self, context: AuthorityContext, messages: KeyMessages, door: DoorChange, events: IncomingEvents,
        certificates: ClientCertificates, registry: Registry,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = context.loops
        self._manager = context.sessions
        self._epochs = context.epochs
        self._outgoing = context.outgoing
        self._registry = registry
        self._events = events
        self._timers: Timers[str] = Timers()
        self._held: set[str] = set()  # inherited by a resumed authority and not yet provisioned
        self._joined: list[str] = []  # since the last `take_joined`
        self._sessions: dict[str, Session] = {}  # by component
        self._feed_at = 0
        self._lateness: int | None = None
        self.distribution = KeyDistribution(context, messages, self._sessions, door)
        self.clients = ClientSessions(context, messages, certificates, self)
        self.changes = EpochChanges(context, messages, self.clients, self.distribution, self._timers, self)
        self.revocations = Revocations(context, self._sessions, self.clients, self.distribution, self)
        self.lock = HostLock(context, door, self)

    def start(self, now: int, inherited: Iterable[str], *, is_resumed: bool) -> None:
        """Begin; `inherited` are the loops whose channels were there from the fork."""
        self._timers.set("feed", now + FEED_MS)
        self._timers.set("epoch", now + self.changes.epoch_ms)
        self.changes.tell_keys(now)
        if not is_resumed:
            return
        self._held = set(inherited)
        for loop in self._held:
            self._loops[loop].wants_keys = True
        grace_ms = 0 if self.lock.is_locked else GRACE_MS
        waited_for = self._held - ({GATE} if self.lock.is_locked else set())
        self._epochs.begin(self._context.state.epoch, waited_for, now, grace_ms=grace_ms)
        self.changes.commit_if_ready(now)

    def may_read(self, loop: str) -> bool:
        """Tell whether a loop's messages may be read now."""
        return loop not in self._held and not (loop == GATE and self.lock.is_gate_over)

    def state_of(self, loop: str) -> str:
        """Return the state of the conversation with a loop, for the table."""
        entry = self._loops.find(loop)
        if entry is None:
            return "new"  # and it has lost its channel already: a reload has removed it
        return "locked" if entry.is_shut else "joined" if entry.is_joined else "new"

    def take_joined(self) -> list[str]:
        """Return the loops that have got their keys since the last call."""
        joined, self._joined = self._joined, []
        return joined

    # Messages of the supervisor

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"spawned": self._on_spawned, "attested": self._on_attested, "gone": self._on_gone}

    def _on_spawned(self, message: SpawnedMessage, moment: Moment) -> None:
        """Note a new incarnation at the other end of a new channel."""
        entry = self._loops[message.loop]
        self._end(entry, moment)
        self._loops.begin(entry, message.incarnation)
        if message.loop == GATE:
            self.lock.gate_spawned()

    def _on_attested(self, message: AttestedMessage, moment: Moment) -> None:
        """Note that an incarnation was attested; nothing if it is not the present one."""
        entry = self._loops[message.loop]
        if entry.incarnation == 0:  # inherited by fork: this is the first time that its incarnation is named
            entry.incarnation = message.incarnation
        if message.incarnation != entry.incarnation:
            return
        entry.attested = message.epoch
        self._epochs.attested(message.loop, message.epoch)
        self.distribution.tell_gate_of(entry)
        self._provision_if_due(entry, moment.now)
        self.changes.commit_if_ready(moment.now)

    def _on_gone(self, message: GoneMessage, moment: Moment) -> None:
        """Note the end of a process; nothing if it was replaced already."""
        entry = self._loops.find(message.loop)
        if entry is not None and entry.incarnation in (0, message.incarnation):
            self._end(entry, moment)

    # Messages of loops

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"join": self._on_join, "prepared": self._on_prepared, "rest": self._on_rest, "wake": self._on_wake}

    def _on_join(self, entry: LoopEntry, message: NoFields, moment: Moment) -> None:
        entry.wants_keys = True
        wait_until = entry.provisioned + REPEAT_MS
        if entry.has_door and moment.now < wait_until:
            self._timers.set(_PROVISION + entry.loop, wait_until)
        else:
            self._provision_if_due(entry, moment.now)

    def _on_prepared(self, entry: LoopEntry, message: EpochNumberMessage, moment: Moment) -> None:
        self._epochs.prepared(entry.loop, message.epoch)
        self.changes.commit_if_ready(moment.now)

    def _on_rest(self, entry: LoopEntry, message: NoFields, moment: Moment) -> None:
        entry.is_resting = entry.is_joined

    def _on_wake(self, entry: LoopEntry, message: NoFields, moment: Moment) -> None:
        entry.is_resting = False
        if entry.is_joined:
            self.distribution.send_awake(entry, moment.now)

    def lost(self, loop: str, moment: Moment) -> None:
        """Forget a loop whose channel was closed, by it or for an offence. It stays without keys until respawned."""
        entry = self._loops.find(loop)
        if entry is None:
            return
        incarnation = entry.incarnation
        self._end(entry, moment, is_gone=False)
        entry.incarnation = incarnation  # so that only a new incarnation counts as attested

    # Time

    def next_due(self) -> int | None:
        times = (self._timers.next(), self._manager.next_due())
        return min((when for when in times if when is not None), default=None)

    def tick(self, moment: Moment) -> None:
        now = moment.now
        for key in self._timers.due(now):
            if key == "feed":
                self._feed(now)
            elif key == "epoch":
                self.changes.begin_timed(now)
            elif key == "move":
                self.changes.begin_move(now)
            elif key == "rotate":
                self.changes.begin_rotation(now)
            elif (entry := self._loops.find(key.removeprefix(_PROVISION))) is not None:
                self._provision_if_due(entry, now)
        self.changes.commit_if_ready(now)
        while self.changes.late:
            self.lost(self.changes.late.pop(), moment)
        if self._renew(now):
            self.clients_changed(moment)
        if ended := self._manager.take_ended():
            self.distribution.send_ended(ended)

    def take_lateness(self) -> int | None:
        """Return by how many ms the last feed was late, once; None if there was none."""
        lateness, self._lateness = self._lateness, None
        return lateness

    def beat(self, lateness_ms: int) -> None:
        """Send the supervisor a heartbeat, with the epoch that loops must be attested for."""
        counts = dict.fromkeys((entry.loop for entry in self._loops.joined), 0) | self._manager.counts()
        self._outgoing.tell("beat", lateness_ms * 1000, self._epochs.target, counts)

    def _feed(self, now: int) -> None:
        self._lateness = max(0, now - self._feed_at) if self._feed_at else 0
        self._feed_at = now - now % FEED_MS + FEED_MS  # when the supervisor looks too: see EventLoop.call_next
        self._timers.set("feed", self._feed_at)
        for entry in self._loops.joined:
            if not entry.is_resting and not self._outgoing.is_blocked(entry.loop):
                self.distribution.send_feed(entry, now)

    # Provisioning

    def _provision_if_due(self, entry: LoopEntry, now: int) -> None:
        if entry.loop == GATE and entry.may_get_keys and self._is_gate_settled(entry, now):
            return
        if not entry.may_get_keys or self.changes.is_held:
            return
        entry.wants_keys = entry.is_resting = False
        is_first = not entry.is_joined
        entry.is_joined = True
        entry.provisioned = now
        for component in entry.components:
            if component not in self._sessions:
                self._open_session(component, entry, now)
        if is_first:
            if entry.loop not in self._held:
                is_attested = entry.attested is not None and entry.attested >= self._epochs.target
                self._epochs.add(entry.loop, is_attested=is_attested)
            if entry.loop == GATE and entry.loop in self._held:
                self._outgoing.send(GATE, "ended", b"")  # all sessions that our predecessor has granted
            if entry.loop in self._held:
                self._outgoing.send(entry.loop, "sessions_ended", "clients", [])
            self._held.discard(entry.loop)
        self.distribution.provision(entry, now)
        for session in self.distribution.sessions_of(entry):
            if session.state is SessionState.OPENING:
                self._manager.opened(session)
        if is_first:
            self.distribution.introduce(entry)
            self.clients.push_all(entry.components)
            self._outgoing.tell("joined", entry.loop, entry.incarnation)
            self._joined.append(entry.loop)

    def _is_gate_settled(self, entry: LoopEntry, now: int) -> bool:
        """Deal with a Primary that gets no keys: of a locked host, or of the state before."""
        if self.lock.is_gate_over:
            return True
        if self.lock.is_locked:
            self._held.discard(GATE)
            self.lock.provision_gate(entry, now)
        return self.lock.is_locked

    def provision_all(self, now: int) -> None:
        """Provision every loop that waits for keys."""
        for entry in self._loops:
            self._provision_if_due(entry, now)

    def joined(self, loop: str, moment: Moment) -> None:
        entry = self._loops.find(loop)
        detail = {"incarnation": entry.incarnation if entry is not None else 0, "epoch": self._epochs.target}
        self._context.recorder.note("keys_given", loop, detail, moment)

    # Sessions

    def _open_session(self, component: str, entry: LoopEntry, now: int) -> None:
        if component not in self._loops.barred and not self.lock.is_locked:
            self._sessions[component] = self._manager.open_component(component, entry.loop, now)

    def reopen(self, subject: str, now: int) -> None:
        """Give a component the session that it may have; a client asks for one itself."""
        if self.lock.is_locked or not self._loops.has(subject):
            return
        if not (entry := self._loops.of(subject)).is_joined:
            return
        if self.changes.is_held:
            entry.wants_keys = True  # but only those of the epoch that is to come
            return
        self._open_session(subject, entry, now)
        session = self._sessions.get(subject)
        if session is not None:
            self.distribution.send_session(session)
            self._manager.opened(session)

    def client_opened(self, session: Session, moment: Moment) -> None:
        """Note a client's first session, and end those of certificates that were replaced."""
        state = self._context.state
        if session.subject not in state.first_opens:
            state.first_opens[session.subject] = moment.wall
            self._context.writer.keep(moment.now)
        client = self._registry.living(session.subject)
        if client is None:
            return
        present = in_use(client, session.confirmation)
        if present is client:
            return
        self._registry.put(present)
        serial = present.certificates[0].serial
        self._context.recorder.note("client_certificate_used", client.subject, {"serial": serial}, moment)
        kept = {each.fingerprint for each in present.certificates}
        old = [each for each in self._manager if each.subject == session.subject and each.confirmation not in kept]
        self.revocations.end_sessions(old, moment)

    def clients_changed(self, moment: Moment) -> None:
        """End the sessions of clients whose certificates have ended or were revoked."""
        for session in self.clients.unwelcome(moment.wall):
            self.revocations.revoke_session(session.session_id, moment)

    def _renew(self, now: int) -> bool:
        """Give new leases; tell whether a client was to get one."""
        has_client = False
        due = self._manager.tick(now)
        for session in due.renewing:
            if self._sessions.get(session.subject) is not session:
                self.clients.push(session)
                has_client = True
            elif session.is_on_last_lease:
                self._replace(session, now)
            else:
                self.distribution.renew(session)
            self._manager.renewed(session)
        for session in due.expired:
            if self._sessions.get(session.subject) is session:
                self._replace(session, now)
            self.clients.ended(session)
        return has_client

    def _replace(self, session: Session, now: int) -> None:
        """Replace a component's session at the end of its life. Until then it answers what it still has to."""
        del self._sessions[session.subject]
        self.reopen(session.subject, now)

    def _end(self, entry: LoopEntry, moment: Moment, *, is_gone: bool = True) -> None:
        """Revoke all that an incarnation held."""
        if entry.loop == GATE or entry is self._loops.with_door:
            self.clients.close_all()
        if entry.loop == GATE:
            self._events.clear()
        ended = self._manager.revoke_owner(entry.loop)
        self._held.discard(entry.loop)
        for session in [each for each in self._sessions.values() if each.owner == entry.loop]:
            del self._sessions[session.subject]
        self._loops.end(entry, is_gone=is_gone)
        if ended:
            self.revocations.publish([entry_of(moment, session) for session in ended], moment)
        self.distribution.tell_gate_of(entry)
        self._epochs.forget(entry.loop)
        self.changes.commit_if_ready(moment.now)

    # The lock

    def lock_down(self, moment: Moment) -> None:
        """End all sessions, what Primary has, and the epoch."""
        self.revocations.revoke_all(moment)
        self.distribution.send_all_ended("all")
        self.lost(GATE, moment)
        self.changes.leave(moment.now, lambda epoch: None)

    def open_up(self, moment: Moment) -> None:
        """Give every component a session, of an epoch that begins now."""
        self.lost(GATE, moment)
        for entry in self._loops.joined:
            for component in entry.components:
                self._open_session(component, entry, moment.now)
        self.changes.leave(moment.now, lambda epoch: None)
        for session in self._sessions.values():
            if session.state is SessionState.OPENING:
                self._manager.opened(session)
