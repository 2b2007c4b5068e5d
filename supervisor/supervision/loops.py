"""Loops: spawn, attest, activate, reap and restart the processes of loops; what they say is in `life_records.py`.

A loop is activated for the first
time when all before it are active (or given up); later, when it is ready and all that it depends on is active.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tlsrt.channels.control.life import LoopState
from tlsrt.config.components import LoopConfig
from tlsrt.config.processes import DOOR_PROCESS
from tlsrt.config.supervision import PRIMARY
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.attestation import differences_of
from tlsrt.supervisor.process.children import Children
from tlsrt.supervisor.process.component_listeners import ComponentListeners
from tlsrt.supervisor.process.exit_reason import (
    Cause,
    Death,
    ExitReason,
    cause_of_death,
)
from tlsrt.supervisor.process.limits import MEMORY
from tlsrt.supervisor.process.listeners import remove_socket
from tlsrt.supervisor.process.signals import LINGER_S, send_signal
from tlsrt.supervisor.process.syscall_monitor import Violation
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.component_health import ComponentHealth
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.disk_waits import FRESH_S, START_S, DiskWaits
from tlsrt.supervisor.supervision.feature import Feature, Features
from tlsrt.supervisor.supervision.heartbeat import HeartbeatMonitor
from tlsrt.supervisor.supervision.life_records import LifeRecords
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.name_wait import NameWait
from tlsrt.supervisor.supervision.restart_policy import RestartPolicy
from tlsrt.supervisor.supervision.starter import Starter
from tlsrt.supervisor.supervision.states import DOWN_FOR_GOOD, LoopEvent, cause_of_event
from tlsrt.supervisor.supervision.violations import Violations
from tlsrt.supervisor.supervision.visible_sleep import Step, is_read

_CAPTURED = (LoopEvent.VIOLATED, LoopEvent.REFUSED)  # treat such a process as compromised


Fields = Sequence[Any]


class Loops(Feature):
    """All loops, in their order."""

    def __init__(
        self,
        context: Context,
        authority: AuthorityProcess,
        loops: list[Loop],
        listeners: Mapping[str, dict[str, int]],
        component_listeners: ComponentListeners,
        monitor: HeartbeatMonitor,
        restart_policy: RestartPolicy,
        features: Features,
    ) -> None:
        self._context = context
        self._features = features
        self._authority = authority
        self._listeners = listeners
        self.starter = Starter(context, listeners, component_listeners, self._violated)
        self._all = loops  # which the authority's process has too
        self.monitor = monitor
        self.restart_policy = restart_policy
        self.is_stopping = False
        self.is_locked = False  # then no loop is told of Primary: it carries nothing
        self._name_wait = NameWait(context, self.activate_next)
        self.violations = Violations(context, authority)
        self.health = ComponentHealth(context, self._unwell)
        self.disk_waits = DiskWaits(context)
        self._records = LifeRecords(context, self, features)

    @property
    def all(self) -> tuple[Loop, ...]:
        """Return all loops now, Primary first."""
        return tuple(self._all)

    def add(self, config: LoopConfig, listener: int, log: int) -> None:
        """Supervise one more process, which is down; `listener` is where it will connect to Primary."""
        path = self._context.current.config.log_dir / f"{config.name}.log"
        loop = Loop(config, len(self._all), log, str(path), on_moved=self._features.loop_moved)
        self._all.append(loop)
        self._arrange()
        self._listeners[PRIMARY][config.name] = listener
        self.tell(self.all[0], "link", config.name, descriptors=(listener,))

    def remove(self, loop: Loop) -> None:
        """Supervise a process no more, which has ended for good."""
        self._all.remove(loop)
        self._arrange()
        self.tell(self.all[0], "unlink", loop.name)
        os.close(self._listeners[PRIMARY].pop(loop.name))
        remove_socket(self._context.current.config, loop.name)
        loop.process.close(self._context.event_loop.forget)
        os.close(loop.log)
        self._context.current.children.remove(loop.name)

    def _arrange(self) -> None:
        """Keep the order of the start."""
        self.restart_policy.change([loop.name for loop in self._all])
        order = {name: index for index, name in enumerate(self.restart_policy.order)}
        self._all.sort(key=lambda loop: order[loop.name])

    def by_name(self, name: str) -> Loop:
        """Return the loop of that name."""
        return next(loop for loop in self.all if loop.name == name)

    def set_locked(self, is_locked: bool) -> None:
        """Take note that the host is locked, or is not any more."""
        self.is_locked = is_locked

    def may_use_primary(self, loop: Loop) -> bool:
        """Tell whether a loop is told of Primary: that of a locked host carries nothing, but has the door."""
        return not self.is_locked or loop.name == DOOR_PROCESS

    def authority_booted(self) -> None:
        for loop in self.all:
            if loop.is_trusted:
                self.announce(loop)

    def stopping(self) -> None:
        self.is_stopping = True

    def living(self) -> Iterator[Loop]:
        return (loop for loop in self.all if loop.is_living)

    # Start

    def spawn(self, loop: Loop) -> None:
        """Fork one loop that is down. A fork that fails is a death like any other."""
        problem = self.starter.start(loop)
        if loop.process.child is None or loop.process.life is None:
            self._clean_up(loop, Death(Cause.FORK, problem, loop.incarnation, time.time()))
            return
        self._context.event_loop.watch(loop.process.life.fileno(), lambda events: self._records.hear(loop))
        self._context.event_loop.watch(loop.process.child.pidfd, lambda events: self._died(loop))
        self._set_deadline(loop, "ready")
        primary = self.all[0]
        is_up = primary.is_primary and primary.state is LoopState.ACTIVE
        if is_up and primary is not loop and self.may_use_primary(loop):
            self.tell(loop, "primary_up", primary.incarnation)

    def _violated(self, loop: Loop, incarnation: int, violation: Violation) -> None:
        if loop.incarnation != incarnation:
            return
        self.violations.note(loop.name, incarnation, loop.host_pid, violation)
        if violation.ends:
            self.kill(loop, LoopEvent.VIOLATED, f"violation: {violation.sentence}", Cause.POLICY)

    def _set_deadline(self, loop: Loop, word: str) -> None:
        seconds = self._context.current.config.limits.ready_timeout_s
        late = partial(self._late, loop, f"not {word} in {seconds:g} s", self._context.event_loop.now + START_S)
        loop.process.set_deadline(self._context.event_loop.call_later(seconds, late))

    def _late(self, loop: Loop, reason: str, end: float) -> None:
        """End a start that takes too long; one that waits for its disk may take longer, and its end is the disk's.

        It says so itself once it beats; before that, while it reads its code, only the kernel does.
        """
        if where := self.manager_of(loop).disk_wait(loop.name, loop.host_pid):
            self.disk_waits.seen(loop.name, 0.0, where)
        if self.disk_waits.of(loop.name) is None:
            self.kill(loop, LoopEvent.DEADLINE, reason)
        elif self._context.event_loop.now >= end:
            self.kill(loop, LoopEvent.DEADLINE, f"{reason}: it waits for its disk", Cause.DISK)
        else:
            late = partial(self._late, loop, reason, end)
            loop.process.set_deadline(self._context.event_loop.call_later(FRESH_S, late))

    # Life channel

    def tell(self, loop: Loop, name: str, *fields: int | str | bytes, descriptors: Sequence[int] = ()) -> None:
        """Send one record; a loop that does not read its records hangs, and is killed."""
        if loop.process.life is None:
            return
        try:
            loop.process.life.send(name, *fields, descriptors=descriptors)
        except PeerError as error:
            if error.reason == "hung":
                self.kill(loop, LoopEvent.VIOLATED, "does not read its life channel")

    # Attestation, activation, kill

    def _unwell(self, loop: Loop, reason: str) -> None:
        self._authority.channel.charge(loop.name, loop.incarnation, "health", 1, reason)
        if loop.state is LoopState.ACTIVE and not self.is_stopping:
            self._features.loop_unwell(loop, reason)

    def hung(self, loop: Loop, reason: str, cause: Cause) -> None:
        """Kill a loop whose event loop no longer beats, whatever its other threads say."""
        lies = f", but {loop.process.false_beats} that its event loop did not make" if loop.process.false_beats else ""
        self.kill(loop, LoopEvent.HUNG, reason + lies, cause)

    def attest(self, loop: Loop) -> bool:
        """Attest a loop; kill it if it differs from its profile. Tell whether it passed."""
        if loop.process.child is None:
            return False
        differences = differences_of(loop.name, loop.process.child, self.manager_of(loop), loop.process.syscall_monitor)
        if differences:
            self.violations.differs(loop.name, loop.incarnation, differences[0])
            self.kill(loop, LoopEvent.REFUSED, f"attestation: {'; '.join(differences)}")
        return differences == []

    def look_at_sleep(self, loop: Loop) -> None:
        """Take it for a beat that a process visibly sleeps, right after a look at it; ask another one for a beat.

        The gate goes on beating: it is the one that wakes others.
        """
        process, children = loop.process, self.manager_of(loop)
        if loop.state is not LoopState.ACTIVE or loop.is_primary or process.beat is None or process.life is None:
            return
        ends = (process.life.fileno(), process.authority_end)
        step = process.sleep.look(
            process.beat.sequence, has_slept=children.has_slept(loop.name, loop.host_pid),
            epoll_set=partial(children.epoll_set, loop.name, loop.host_pid), is_read=partial(is_read, ends),
        )  # fmt: skip
        if step is Step.SLEEPS:
            self.monitor.beat(loop.name, self._context.event_loop.now)
        elif step is Step.MAY_REST:
            self.tell(loop, "may_rest")
        elif step is Step.ASK:
            self.tell(loop, "ask_beat")

    def ask_beats(self) -> None:
        """Have all look at what is due: the clocks that their timers go by have been set."""
        for loop in self.all:
            if loop.state is LoopState.ACTIVE and loop.process.life is not None:
                self.tell(loop, "ask_beat")

    def manager_of(self, loop: Loop) -> Children:
        """Return what a living loop is to be inspected with."""
        return loop.managed_by or self._context.current.children

    def announce(self, loop: Loop) -> None:
        """Tell the authority that this loop may have keys, once there is an epoch to have them for.

        One that lives under a profile of before a reload gets none any more.
        """
        if loop.managed_by is not self._context.current.children:
            return
        if self._authority.is_booted and self._authority.channel.attested(
            loop.name, loop.incarnation, self._authority.epoch
        ):
            loop.process.attested_epoch = self._authority.epoch

    def activate_next(self) -> None:
        """Activate every loop whose turn it is."""
        open_so_far = True
        states = {loop.name: loop.state for loop in self.all}
        for loop in self.all:
            may = (open_so_far or loop.was_active) and self.restart_policy.may_activate(loop.name, states)
            is_next = loop.state is LoopState.READY and not loop.process.is_activating and may and not self.is_stopping
            if is_next and not self._name_wait.holds(loop.name, loop.incarnation):
                loop.process.is_activating = True
                self._set_deadline(loop, "active")
                self.tell(loop, "activate")
            has_failed = loop.config.is_part and loop.last_death is not None  # others do not wait for its next tries
            open_so_far = open_so_far and (loop.was_active or loop.state in DOWN_FOR_GOOD or has_failed)

    def kill(self, loop: Loop, event: LoopEvent, reason: str, cause: Cause | None = None) -> None:
        """Kill a living loop; the first reason is the one that status shows. The event tells its usual cause."""
        if not loop.is_living:
            return
        loop.process.set_kill_reason(cause or cause_of_event(event), reason)
        loop.move(event)
        self.monitor.forget(loop.name)
        loop.process.set_deadline(None)
        loop.process.close_life(self._context.event_loop.forget)
        if loop.process.child is not None:
            if event in _CAPTURED:
                self._context.current.children.freeze(loop.name)  # its other threads do nothing more meanwhile
            send_signal(loop.process.child, signal.SIGKILL)
            loop.process.is_killed = True
            self._context.current.children.clear(loop.name)  # the whole tree, whatever it did to get out of sight

    # Exit

    def _died(self, loop: Loop) -> None:
        child = loop.process.child
        reason = self._context.current.children.reap(child) if child is not None else None
        if child is None or reason is None:
            return
        self._records.hear(loop)  # its last words may lie in the channel
        self._context.event_loop.forget(child.pidfd)
        os.close(child.pidfd)
        loop.process.child = None
        self._clean_up_last(loop, self._death(loop, reason))

    def _death(self, loop: Loop, reason: ExitReason) -> Death:
        kills = self._context.current.children.oom_kills(loop.name)
        if kills:
            self.violations.limit_reached(loop.name, loop.incarnation, MEMORY, "it was killed for want of memory")
        return cause_of_death(
            reason, loop.process.kill_reason, oom_kills=kills, incarnation=loop.incarnation, at=time.time()
        )

    def _clean_up_last(self, loop: Loop, death: Death) -> None:
        """Clean up when no process of a loop is left: the next one never meets the last one's descendants."""
        if self._context.current.children.clear(loop.name):
            self._clean_up(loop, death)
        else:
            self._context.event_loop.call_later(LINGER_S, partial(self._clean_up_last, loop, death))

    def _clean_up(self, loop: Loop, death: Death) -> None:
        ended = loop.end(death)
        ended.close(self._context.event_loop.forget)
        self.monitor.forget(loop.name)
        self.disk_waits.forget(loop.name)
        self._authority.channel.gone(loop.name, loop.incarnation)
        if loop.is_primary and ended.active_at is not None:
            for other in self.living():
                self.tell(other, "primary_down")
        if self.is_stopping:
            self._features.loop_ended(loop)
            return
        if ended.graceful_stop is not None:
            ended.graceful_stop.then(loop)
        else:
            active_s = self._context.event_loop.now - ended.active_at if ended.active_at is not None else 0.0
            self._features.loop_died(loop, active_s, ended.permanent_failure)
        self._features.loop_changed(loop)

    def respawn(self, loop: Loop) -> None:
        """Fork a loop that is down and bring the authority its trust channel."""
        self.spawn(loop)
        if loop.is_living:
            self._authority.channel.spawned(loop.name, loop.incarnation, loop.process.authority_end)
