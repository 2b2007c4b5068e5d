"""What loops say on their life channels, and what follows of it.

A loop's life channel is the only thing that the supervisor reads from it: fixed-size records, by the table in
channels/control/life.py. Whatever breaks that table ends that loop and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from tlsrt.channels.control.life import FailCode, LoopState, WorkMessage
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.children import Children
from tlsrt.supervisor.process.exit_reason import Cause, KillReason, verdict_of_failure
from tlsrt.supervisor.process.logs import last_words
from tlsrt.supervisor.supervision.component_health import ComponentHealth
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.disk_waits import DiskWaits
from tlsrt.supervisor.supervision.feature import Features
from tlsrt.supervisor.supervision.heartbeat import HeartbeatMonitor
from tlsrt.supervisor.supervision.loop import Beat, Loop, PermanentFailure
from tlsrt.supervisor.supervision.states import LoopEvent

EXIT_GRACE_S = 1.0  # for a loop that reported a failure, or closed its channel, to end by itself

Fields = Sequence[Any]


class Supervised(Protocol):
    """All loops, and what can be done with one."""

    monitor: HeartbeatMonitor
    health: ComponentHealth
    disk_waits: DiskWaits

    def living(self) -> Iterator[Loop]: ...
    def may_use_primary(self, loop: Loop) -> bool: ...
    def manager_of(self, loop: Loop) -> Children: ...
    def attest(self, loop: Loop) -> bool: ...
    def announce(self, loop: Loop) -> None: ...
    def activate_next(self) -> None: ...
    def tell(self, loop: Loop, name: str, *fields: int | str) -> None: ...
    def kill(self, loop: Loop, event: LoopEvent, reason: str, cause: Cause | None = None) -> None: ...


class LifeRecords:
    """Reads them, and has the loops follow."""

    def __init__(self, context: Context, loops: Supervised, features: Features) -> None:
        self._context = context
        self._loops = loops
        self._features = features
        self._handlers: Mapping[str, Callable[[Loop, Fields], None]] = {
            "confined": self._confined,
            "sealed": self._sealed,
            "ready": self._ready,
            "active": self._active,
            "beat": self._beat,
            "health": self._checked,
            "component": self._component,
            "disk_wait": self._waits_for_disk,
            "work": self._works,
            "drained": self._drained,
            "run": self._run,
            "failed": self._failed,
        }

    def hear(self, loop: Loop) -> None:
        """Take what has come from one loop."""
        while loop.process.life is not None:
            try:
                received = loop.process.life.receive(loop.state, self._context.event_loop.now)
            except PeerError as error:
                self._misheard(loop, error.reason)
                return
            if received is None:
                return
            name, fields = received
            if (handler := self._handlers.get(name)) is not None:
                handler(loop, fields)
                continue
            try:
                self._features.take_of_loop(loop, name, fields)
            except PeerError as error:
                self._loops.kill(loop, LoopEvent.VIOLATED, f"life protocol: {error.reason}")

    def _misheard(self, loop: Loop, reason: str) -> None:
        if reason != "closed":
            self._loops.kill(loop, LoopEvent.VIOLATED, f"life protocol: {reason}")
            return
        loop.process.close_life(self._context.event_loop.forget)  # its pidfd will tell how it ends; otherwise kill it
        incarnation = loop.incarnation
        self._context.event_loop.call_later(
            EXIT_GRACE_S, lambda: self._end_if_same(loop, incarnation, "closed its life channel")
        )

    def _end_if_same(self, loop: Loop, incarnation: int, reason: str) -> None:
        if loop.is_living and loop.incarnation == incarnation:
            self._loops.kill(loop, LoopEvent.VIOLATED, reason)

    def _confined(self, loop: Loop, fields: Fields) -> None:
        expected = self._loops.manager_of(loop).sandbox(loop.name).digest
        if expected and fields[0] != expected:
            self._loops.kill(
                loop, LoopEvent.VIOLATED, "attestation: it entered a sandbox of another profile", Cause.ATTESTATION
            )
            return
        loop.move(LoopEvent.CONFINED)

    def _sealed(self, loop: Loop, fields: Fields) -> None:
        loop.move(LoopEvent.SEALED)
        if self._loops.attest(loop):
            loop.move(LoopEvent.ATTESTED)
            self._loops.announce(loop)

    def _ready(self, loop: Loop, fields: Fields) -> None:
        loop.move(LoopEvent.READY)
        loop.process.set_deadline(None)
        self._loops.monitor.watch(loop.name, self._context.event_loop.now)
        self._loops.activate_next()

    def _active(self, loop: Loop, fields: Fields) -> None:
        loop.move(LoopEvent.ACTIVE)
        now = self._context.event_loop.now
        loop.process.set_deadline(None)
        loop.process.active_at, loop.was_active, loop.is_proven = now, True, True
        self._loops.monitor.settle(loop.name, now)
        self._features.loop_active(loop)
        self._features.loop_changed(loop)
        if loop.is_primary:
            for other in self._loops.living():
                if other is not loop and self._loops.may_use_primary(other):
                    self._loops.tell(other, "primary_up", loop.incarnation)
        self._loops.activate_next()

    def _beat(self, loop: Loop, fields: Fields) -> None:
        beat = Beat(*fields)
        last, epoch = (
            (loop.process.beat.sequence, loop.process.beat.epoch) if loop.process.beat is not None else (0, None)
        )
        if not self._loops.manager_of(loop).made_beat(loop.name, loop.host_pid, beat.sequence, last):
            loop.process.false_beats += 1  # and so it is silent
            return
        loop.process.beat, loop.process.false_beats = beat, 0
        self._loops.monitor.beat(loop.name, self._context.event_loop.now)
        self._features.beat(loop.name, beat.lateness_us)
        if beat.epoch != epoch:
            self._features.loop_changed(loop)

    def _checked(self, loop: Loop, fields: Fields) -> None:
        if loop.managed_by is not self._context.current.children:
            return  # it counts the components of the configuration before, and is about to end
        try:
            self._loops.health.heard_untrusted(loop, fields)
        except PeerError as error:
            self._loops.kill(loop, LoopEvent.VIOLATED, f"life protocol: {error.reason}")

    def _component(self, loop: Loop, fields: Fields) -> None:
        if loop.managed_by is not self._context.current.children:
            return
        try:
            self._loops.health.state_heard_untrusted(loop, fields)
        except PeerError as error:
            self._loops.kill(loop, LoopEvent.VIOLATED, f"life protocol: {error.reason}")

    def _waits_for_disk(self, loop: Loop, fields: Fields) -> None:
        self._loops.disk_waits.heard_untrusted(loop.name, fields[0])

    def _works(self, loop: Loop, fields: Fields) -> None:
        loop.process.work = WorkMessage(*fields)

    def _drained(self, loop: Loop, fields: Fields) -> None:
        if loop.process.graceful_stop is not None:
            loop.process.graceful_stop.drained()

    def _run(self, loop: Loop, fields: Fields) -> None:
        self._features.program_asked(loop, fields[0])

    def _code_changed(self, loop: Loop) -> KillReason | None:
        """Look for ourselves what has changed, and tell it; None where nothing differs any more: it is tried again."""
        change = self._loops.manager_of(loop).changed_code(loop.name)
        if change is None:
            return None
        loop.process.permanent_failure = PermanentFailure.CODE
        self._context.events.emit(
            "code_changed", loop.name, str(change), incarnation=loop.incarnation, component=change.owner,
            root=change.root,
        )  # fmt: skip
        return KillReason(Cause.CODE_CHANGED, f"failed: {change}")

    def _failed(self, loop: Loop, fields: Fields) -> None:
        components = [component.address for component in self._context.current.config.components_of(loop.name)]
        code, index = fields
        if loop.state is LoopState.SPAWNED and code == FailCode.SANDBOX:
            loop.process.permanent_failure = PermanentFailure.SANDBOX
        elif code in (FailCode.IMPORT, FailCode.THREADS):
            loop.process.permanent_failure = PermanentFailure.IMPORT
        elif code == FailCode.CONFIGURATION and loop.process.active_at is None:
            loop.process.permanent_failure = PermanentFailure.CONFIGURATION
        said = last_words(loop.log_path) if loop.process.kill_reason is None else ""
        reason = verdict_of_failure(code, index, components, loop.log_path, said)
        if code == FailCode.CODE_CHANGED and loop.process.active_at is None:
            reason = self._code_changed(loop) or reason
        loop.process.set_kill_reason(reason.cause, reason.sentence, reason.said)
        loop.move(LoopEvent.FAILED)
        self._loops.monitor.forget(loop.name)
        incarnation = loop.incarnation
        self._context.event_loop.call_later(EXIT_GRACE_S, lambda: self._end_if_same(loop, incarnation, "failed"))
