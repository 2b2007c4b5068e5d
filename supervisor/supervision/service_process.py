"""A process of the supervisor's own beside the loops: spawn, attest, reap and restart it.

It holds no state, so its end is always a kill, and the next one comes at once, as long as the configuration needs it.
It runs our code only: any call that it may not make is a bug or an attack, and ends it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tlsrt.channels.control.seqpacket import ControlChannel, MessageTable, control_pair
from tlsrt.config.schema import Config
from tlsrt.errors import PeerError, TlsrtError
from tlsrt.supervisor.process.attestation import differences_of
from tlsrt.supervisor.process.children import Child, Children, HelperStart
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import Cause, Death, KillReason, cause_of_death
from tlsrt.supervisor.process.instance_lock import shared_lock
from tlsrt.supervisor.process.logs import open_log
from tlsrt.supervisor.process.signals import LINGER_S, send_signal
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor, Violation
from tlsrt.supervisor.supervision.backoff import RestartBackoff
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature

END_S = 1.0


class ServiceProcess(Feature):
    """One such process, over all its incarnations. What it is asked, and what it says, a kind of its own decides."""

    def __init__(self, context: Context, name: str, table: MessageTable) -> None:
        self.name = name
        self._context = context
        self._table = table
        self._log = -1
        self._channel: ControlChannel | None = None
        self._monitor: SyscallMonitor | None = None
        self._is_sealed = False
        self._kill_reason: KillReason | None = None
        self._backoff = RestartBackoff(context.current.config.supervision.restart, context.chance)
        self._deadline: Timer | None = None
        self._next: Timer | None = None  # start
        self.child: Child | None = None
        self.managed_by = context.current.children
        self.spawned_at = 0.0
        self.restarts = 0
        self.last_death: Death | None = None
        self.is_stopping = False
        self.is_wanted = False
        self.on_ready: list[Callable[[], None]] = []  # who has something to ask as soon as there is one

    # What a kind of it says

    def is_needed(self, config: Config) -> bool:
        """Say whether a configuration needs it."""
        raise NotImplementedError

    def fork(self, children: Children, start: HelperStart) -> Child:
        """Fork it. Raises OSError and TlsrtError."""
        raise NotImplementedError

    def take(self, name: str, message: Any, descriptors: list[int]) -> None:
        """Take what it says, once it is sealed. Raises PeerError for what ends it; owns the descriptors."""
        raise NotImplementedError

    def lost(self) -> None:
        """Hear that what it was asked has no answer: its channel is closed."""

    @property
    def is_attested(self) -> bool:
        return self._is_sealed and self.child is not None and self._kill_reason is None

    @property
    def is_killed(self) -> bool:
        """Tell whether it was killed, and is there still."""
        return self._kill_reason is not None and self.child is not None

    @property
    def state(self) -> str:
        """Return one word for status."""
        if self.child is None:
            return "down"
        return "active" if self.is_attested else "booting"

    # Its life

    def look(self) -> None:
        """Start it if the configuration in force needs it; end it if it does not."""
        self.is_wanted = self.is_needed(self._context.current.config) and not self.is_stopping
        if self.is_wanted and self.child is None and self._next is None:
            self._spawn()
        elif not self.is_wanted and self.child is not None:
            self._close_channel()  # which ends it
            self._deadline = self._context.event_loop.call_later(
                END_S, partial(self.kill, "did not end", Cause.DEADLINE)
            )

    def authority_booted(self) -> None:
        self.look()

    def epoch_begun(self) -> None:
        self.look()  # a reload may have changed what is needed

    def stopping(self) -> None:
        self.is_stopping = True
        if self._next is not None:
            self._next.cancel()
        self.look()

    def _spawn(self) -> None:
        self._next = None
        if self.is_stopping or self.child is not None:
            return
        ours, theirs = control_pair()
        self.managed_by = children = self._context.current.children
        self._is_sealed, self._kill_reason = False, None
        self.spawned_at = self._context.event_loop.now
        rules = children.call_rules(self.name)
        if rules is not None:
            self._monitor = SyscallMonitor(self._context.event_loop, rules, self._violated)
        self._channel = ControlChannel(ours, self._table)
        problem = ""
        try:
            if self._log < 0:
                self._log = open_log(self._context.current.config, self.name)
            reports = self._monitor.child_end if self._monitor is not None else None
            start = HelperStart(theirs, self._log, reports=reports)
            with shared_lock(self._context.lock) as share:
                self.child = self.fork(children, replace(start, keep=(share,)))
        except (OSError, TlsrtError) as error:
            problem = f"cannot be forked: {error}"
        os.close(theirs)
        if self._monitor is not None:
            self._monitor.forked(self.child)
        if self.child is None:
            self._clean_up(Death(Cause.FORK, problem, at=time.time()))
            return
        self._context.events.emit("spawned", self.name, pid=self.child.host_pid, restarts=self.restarts)
        self._context.event_loop.watch(ours, lambda events: self._hear())
        self._context.event_loop.watch(self.child.pidfd, lambda events: self._died())
        seconds = self._context.current.config.limits.ready_timeout_s
        self._deadline = self._context.event_loop.call_later(
            seconds, partial(self.kill, f"not ready in {seconds:g} s", Cause.DEADLINE)
        )

    def attest(self) -> bool:
        """Attest it; kill it if it differs from its profile. Tell whether it passed."""
        if self.child is None or self._kill_reason is not None:
            return False
        differences = differences_of(self.name, self.child, self.managed_by, self._monitor)
        if differences:
            self._context.events.emit("difference", self.name, differences[0])
            self.kill(f"attestation: {'; '.join(differences)}", Cause.ATTESTATION)
        return differences == []

    def _violated(self, violation: Violation) -> None:
        self._context.console.bad(self.name, "killed", violation.sentence)
        self._context.events.emit("violation", self.name, violation.sentence, call=violation.call, ends=True)
        self.kill(f"violation: {violation.sentence}", Cause.POLICY)

    def kill(self, reason: str, cause: Cause = Cause.PROTOCOL) -> None:
        """Kill it, with all that it was asked; another one comes if it is needed."""
        if self.child is None or self._kill_reason is not None:
            return
        self._context.events.emit("killed", self.name, reason, cause=str(cause))
        self._kill_reason = KillReason(cause, reason)
        self._close_channel()
        send_signal(self.child, signal.SIGKILL)
        self.managed_by.clear(self.name)

    def _died(self) -> None:
        reason = self.managed_by.reap(self.child) if self.child is not None else None
        if self.child is None or reason is None:
            return
        self._context.event_loop.forget(self.child.pidfd)
        os.close(self.child.pidfd)
        self.child = None
        kills = self.managed_by.oom_kills(self.name)
        self._clean_up_last(cause_of_death(reason, self._kill_reason, oom_kills=kills, at=time.time()))

    def _clean_up_last(self, death: Death) -> None:
        if self.managed_by.clear(self.name):
            self._clean_up(death)
        else:
            self._context.event_loop.call_later(LINGER_S, partial(self._clean_up_last, death))

    def _clean_up(self, death: Death) -> None:
        served_s = self._context.event_loop.now - self.spawned_at
        is_asked_for = not self.is_wanted
        self.last_death = death
        self._is_sealed = False
        self._close_channel()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        self._context.events.emit_death(self.name, death, served_s, is_wanted=is_asked_for)
        if is_asked_for:
            return
        delay_s = self._backoff.died(served_s)
        when = f"again in {delay_s:.3g} s" if delay_s else "again at once"
        self._context.console.bad(self.name, "died", f"{death}; {when}")
        self.restarts += 1
        self._next = self._context.event_loop.call_later(delay_s, self._spawn)

    def _close_channel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._channel is not None:
            self._context.event_loop.forget(self._channel.fileno())
            self._channel.close()
            self._channel = None
        self.lost()

    def _hear(self) -> None:
        try:
            while self._channel is not None:
                state = "sealed" if self._is_sealed else "new"
                received = self._channel.receive(self.name, state, descriptors=True)
                if received is None:
                    return
                self._take(*received)
        except PeerError as error:
            if error.reason == "closed":
                self._is_sealed = False
                self._close_channel()  # its pidfd says the rest, unless it only shut the channel down
                self._deadline = self._context.event_loop.call_later(
                    END_S, partial(self.kill, "closed its channel and did not end", Cause.DEADLINE)
                )
            else:
                self.kill(f"{self.name} protocol: {error.reason}")

    def _take(self, name: str, message: Any, descriptors: list[int]) -> None:
        if name != "sealed":
            self.take(name, message, descriptors)
            return
        self._is_sealed = self.attest()
        if self._is_sealed:
            self._ready()

    def _ready(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._context.events.emit("attested", self.name)
        for callback in self.on_ready:
            callback()
