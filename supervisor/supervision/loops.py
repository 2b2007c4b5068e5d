"""The loops: forked by `starter.py`, heard, looked at, activated in order, buried, born again.

A loop's life channel is the only thing that the supervisor reads from it: fixed-size records, by the table in
channels/control/life.py. Whatever breaks that table ends that loop and no other. A loop is activated for the first
time when all before it are active (or given up); later, when it is ready and all that it depends on is active.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tlsrt.channels.control.life import FailCode, LoopState
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.attestation import differences_of
from tlsrt.supervisor.process.children import Common, Parts
from tlsrt.supervisor.process.exit_reason import (
    Cause,
    Death,
    ExitReason,
    cause_of_death,
    cause_of_event,
    verdict_of_failure,
)
from tlsrt.supervisor.process.limits import MEMORY
from tlsrt.supervisor.process.signals import LINGER_S, send_signal
from tlsrt.supervisor.process.syscall_monitor import Violation
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.component_health import ComponentHealth
from tlsrt.supervisor.supervision.heartbeat import HeartbeatMonitor
from tlsrt.supervisor.supervision.loop import Beat, Loop, PermanentFailure
from tlsrt.supervisor.supervision.restart_policy import RestartPolicy
from tlsrt.supervisor.supervision.starter import Starter
from tlsrt.supervisor.supervision.states import DOWN_FOR_GOOD, LoopEvent
from tlsrt.supervisor.supervision.violations import Violations

_CAPTURED = (LoopEvent.VIOLATED, LoopEvent.REFUSED)  # whoever does that may be somebody else's by now
LAST_WORDS_S = 1.0  # for a loop that said it failed, or closed its channel, to end by itself

Fields = Sequence[Any]


class Loops:
    """All loops, in their order."""

    def __init__(
        self,
        common: Common,
        office: AuthorityProcess,
        members: Sequence[Loop],
        listeners: Mapping[str, Mapping[str, int]],
        monitor: HeartbeatMonitor,
        regime: RestartPolicy,
    ) -> None:
        self._common = common
        self._office = office
        self.births = Starter(common, listeners, self._violated)
        self.members = tuple(members)
        self.monitor = monitor
        self.regime = regime
        self.stopping = False
        self.is_locked = False  # then nobody is told of Primary: it carries nothing
        self.on_active: Callable[[Loop], None] = lambda member: None
        self.on_unwell: Callable[[Loop, str], None] = lambda member, reason: None
        self.on_beat: Callable[[Loop], None] = lambda member: None
        self.on_dead: Callable[[Loop], None] = lambda member: None  # while stopping
        self.on_changed: Callable[[], None] = lambda: None  # of what the regime sees
        self.on_down: Callable[[Loop, float, PermanentFailure | None], None] = lambda member, active_s, hopeless: None
        self.violations = Violations(common, office)
        self.health = ComponentHealth(common, self._unwell)
        self._handlers: Mapping[str, Callable[[Loop, Fields], None]] = {
            "confined": self._confined,
            "sealed": self._sealed,
            "ready": self._ready,
            "active": self._active,
            "beat": self._beat,
            "health": self._checked,
            "drained": self._drained,
            "failed": self._failed,
        }

    def member(self, name: str) -> Loop:
        """Return the loop of that name."""
        return next(member for member in self.members if member.name == name)

    def living(self) -> Iterator[Loop]:
        return (member for member in self.members if member.is_living)

    # Birth

    def spawn(self, member: Loop) -> None:
        """Fork one loop that is down. A fork that fails is a death like any other."""
        problem = self.births.give(member)
        if member.child is None or member.life is None:
            self._bury(member, Death(Cause.FORK, problem, member.incarnation, time.time()))
            return
        self._common.reactor.watch(member.life.fileno(), lambda events: self._hear(member))
        self._common.reactor.watch(member.child.pidfd, lambda events: self._died(member))
        self._set_deadline(member, "ready")
        primary = self.members[0]
        is_up = primary.is_primary and primary.state is LoopState.ACTIVE and not self.is_locked
        if is_up and primary is not member:
            self.tell(member, "primary_up", primary.incarnation)

    def _violated(self, member: Loop, incarnation: int, violation: Violation) -> None:
        if member.incarnation != incarnation:
            return
        pid = member.child.host_pid if member.child is not None else 0
        self.violations.note(member.name, incarnation, pid, violation)
        if violation.ends:
            self.condemn(member, LoopEvent.VIOLATED, f"violation: {violation.sentence}", Cause.POLICY)

    def _set_deadline(self, member: Loop, word: str) -> None:
        seconds = self._common.config.limits.ready_timeout_s
        reason = f"not {word} in {seconds:g} s"
        end = partial(self.condemn, member, LoopEvent.DEADLINE, reason)
        member.set_deadline(self._common.reactor.call_later(seconds, end))

    # What a loop says

    def tell(self, member: Loop, name: str, *fields: int) -> None:
        """Send one record; a loop that does not read its records hangs, and is killed."""
        if member.life is None:
            return
        try:
            member.life.send(name, *fields)
        except PeerError as error:
            if error.reason == "hung":
                self.condemn(member, LoopEvent.VIOLATED, "does not read its life channel")

    def _hear(self, member: Loop) -> None:
        while member.life is not None:
            try:
                received = member.life.receive(member.state, self._common.reactor.now)
            except PeerError as error:
                self._misheard(member, error.reason)
                return
            if received is None:
                return
            name, fields = received
            self._handlers[name](member, fields)

    def _misheard(self, member: Loop, reason: str) -> None:
        if reason != "closed":
            self.condemn(member, LoopEvent.VIOLATED, f"life protocol: {reason}")
            return
        self._close_life(member)  # it is ending, and its pidfd will say how; if it is not, it has no business living
        incarnation = member.incarnation
        self._common.reactor.call_later(
            LAST_WORDS_S, lambda: self._end_if_same(member, incarnation, "closed its life channel")
        )

    def _end_if_same(self, member: Loop, incarnation: int, reason: str) -> None:
        if member.is_living and member.incarnation == incarnation:
            self.condemn(member, LoopEvent.VIOLATED, reason)

    def _confined(self, member: Loop, fields: Fields) -> None:
        expected = self._parts_of(member).sandbox(member.name).digest
        if expected and fields[0] != expected:
            self.condemn(
                member, LoopEvent.VIOLATED, "attestation: it entered a sandbox of another profile", Cause.ATTESTATION
            )
            return
        member.move(LoopEvent.CONFINED)

    def _sealed(self, member: Loop, fields: Fields) -> None:
        member.move(LoopEvent.SEALED)
        if self.attest(member):
            member.move(LoopEvent.ATTESTED)
            self.announce(member)

    def _ready(self, member: Loop, fields: Fields) -> None:
        member.move(LoopEvent.READY)
        member.set_deadline(None)
        self.monitor.watch(member.name, self._common.reactor.now)
        self.activate_next()

    def _active(self, member: Loop, fields: Fields) -> None:
        member.move(LoopEvent.ACTIVE)
        now = self._common.reactor.now
        member.set_deadline(None)
        member.active_at, member.was_active, member.is_proven = now, True, True
        self.monitor.settle(member.name, now)
        self.on_changed()
        self.on_active(member)
        if member.is_primary and not self.is_locked:
            for other in self.living():
                if other is not member:
                    self.tell(other, "primary_up", member.incarnation)
        self.activate_next()

    def _beat(self, member: Loop, fields: Fields) -> None:
        beat = Beat(*fields)
        last = member.beat.sequence if member.beat is not None else 0
        pid = member.child.host_pid if member.child is not None else 0
        if not self._parts_of(member).beats(member.name, pid, beat.sequence, last):
            member.false_beats += 1  # and so it is silent
            return
        member.beat, member.false_beats = beat, 0
        self.monitor.beat(member.name, self._common.reactor.now)
        self.on_beat(member)

    def _checked(self, member: Loop, fields: Fields) -> None:
        try:
            self.health.heard_untrusted(member, fields)
        except PeerError as error:
            self.condemn(member, LoopEvent.VIOLATED, f"life protocol: {error.reason}")

    def _unwell(self, member: Loop, reason: str) -> None:
        self._office.charge(member.name, member.incarnation, "health", 1, reason)
        if member.state is LoopState.ACTIVE and not self.stopping:
            self.on_unwell(member, reason)

    def hung(self, member: Loop, reason: str) -> None:
        """Its heart stopped, whatever other threads of it say."""
        lies = f", but {member.false_beats} that its event loop did not make" if member.false_beats else ""
        self.condemn(member, LoopEvent.HUNG, reason + lies)

    def _drained(self, member: Loop, fields: Fields) -> None:
        if member.farewell is not None:
            member.farewell.drained()

    def _failed(self, member: Loop, fields: Fields) -> None:
        components = [component.address for component in self._common.config.components_of(member.name)]
        code, index = fields
        if member.state is LoopState.SPAWNED and code == FailCode.SANDBOX:
            member.hopeless = PermanentFailure.SANDBOX
        elif code == FailCode.IMPORT:
            member.hopeless = PermanentFailure.IMPORT
        verdict = verdict_of_failure(code, index, components, member.log_path)
        member.judge(verdict.cause, verdict.sentence)
        member.move(LoopEvent.FAILED)
        self.monitor.forget(member.name)
        incarnation = member.incarnation
        self._common.reactor.call_later(LAST_WORDS_S, lambda: self._end_if_same(member, incarnation, "failed"))

    # What the supervisor does about it

    def attest(self, member: Loop) -> bool:
        """Look at a loop from outside; end it if it is not what its profile says."""
        if member.child is None:
            return False
        differences = differences_of(member.name, member.child, self._parts_of(member), member.sentry)
        if differences:
            self.violations.differs(member.name, member.incarnation, differences[0])
            self.condemn(member, LoopEvent.REFUSED, f"attestation: {'; '.join(differences)}")
        return differences == []

    def _parts_of(self, member: Loop) -> Parts:
        """Return the parts that a living loop is to be looked at with."""
        return member.parts or self._common.parts

    def announce(self, member: Loop) -> None:
        """Tell the authority that this loop may have keys, once there is an epoch to have them for.

        One that lives under a profile of before a reload gets none any more.
        """
        if member.parts is not self._common.parts:
            return
        if self._office.is_booted and self._office.attested(member.name, member.incarnation):
            member.attested_epoch = self._office.epoch

    def activate_next(self) -> None:
        """Activate every loop whose turn it is."""
        open_so_far = True
        states = {member.name: member.state for member in self.members}
        for member in self.members:
            may = (open_so_far or member.was_active) and self.regime.may_activate(member.name, states)
            if member.state is LoopState.READY and not member.activating and may and not self.stopping:
                member.activating = True
                self._set_deadline(member, "active")
                self.tell(member, "activate")
            open_so_far = open_so_far and (member.was_active or member.state in DOWN_FOR_GOOD)

    def condemn(self, member: Loop, event: LoopEvent, reason: str, cause: Cause | None = None) -> None:
        """Kill a living loop; the first reason is the one that status shows. The event tells its usual cause."""
        if not member.is_living:
            return
        member.judge(cause or cause_of_event(event), reason)
        member.move(event)
        self.monitor.forget(member.name)
        member.set_deadline(None)
        self._close_life(member)
        if member.child is not None:
            if event in _CAPTURED:
                self._common.parts.freeze(member.name)  # its other threads do nothing more meanwhile
            send_signal(member.child, signal.SIGKILL)
            member.is_killed = True
            self._common.parts.clear(member.name)  # the whole tree, whatever it did to get out of sight

    def _close_life(self, member: Loop) -> None:
        if member.life is not None:
            self._common.reactor.forget(member.life.fileno())
            member.life.close()
            member.life = None

    # Death

    def _died(self, member: Loop) -> None:
        child = member.child
        reason = self._common.parts.reap(child) if child is not None else None
        if child is None or reason is None:
            return
        self._hear(member)  # its last words may lie in the channel
        self._common.reactor.forget(child.pidfd)
        os.close(child.pidfd)
        member.child = None
        self._bury_last(member, self._death(member, reason))

    def _death(self, member: Loop, reason: ExitReason) -> Death:
        kills = self._common.parts.oom_kills(member.name)
        if kills:
            self.violations.limit_reached(member.name, member.incarnation, MEMORY, "it was killed for want of memory")
        return cause_of_death(reason, member.verdict, oom_kills=kills, incarnation=member.incarnation, at=time.time())

    def _bury_last(self, member: Loop, death: Death) -> None:
        """Bury a loop when nobody of it is left: the next one never meets the last one's descendants."""
        if self._common.parts.clear(member.name):
            self._bury(member, death)
        else:
            self._common.reactor.call_later(LINGER_S, partial(self._bury_last, member, death))

    def _bury(self, member: Loop, death: Death) -> None:
        active_s = self._common.reactor.now - member.active_at if member.active_at is not None else 0.0
        was_up = member.active_at is not None
        member.last_death = death
        member.move(LoopEvent.EXITED)
        member.verdict, member.active_at, member.activating = None, None, False
        member.is_killed = False
        member.attested_epoch, member.beat, member.false_beats = None, None, 0
        member.checked.clear()
        member.set_deadline(None)
        member.close_channels(self._common.reactor.forget)
        self.monitor.forget(member.name)
        self._office.gone(member.name, member.incarnation)
        hopeless, member.hopeless = member.hopeless, None
        farewell, member.farewell = member.farewell, None
        if farewell is not None:
            farewell.cancel()
        if member.is_primary and was_up:
            for other in self.living():
                self.tell(other, "primary_down")
        if self.stopping:
            self.on_dead(member)
        elif farewell is not None:
            farewell.then(member)
        else:
            self.on_down(member, active_s, hopeless)

    def respawn(self, member: Loop) -> None:
        """Fork a loop that is down and bring the authority its trust channel."""
        self.spawn(member)
        if member.is_living:
            self._office.spawned(member.name, member.incarnation, member.authority_end)
