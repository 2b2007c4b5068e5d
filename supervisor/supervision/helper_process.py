"""The supervisor's side of the helper: spawn, attest, ask, reap and restart its process.

The helper is there as long as a component needs it. It holds no state, so its end is always a kill, and the next one
comes at once. It does one request after another, each with a deadline: a helper that a driver holds up is killed, and
only what was asked is lost. Who asks is told which request held it up, as to ask for it again would do the same.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tlsrt.channels.control.helper import HELPER
from tlsrt.channels.control.seqpacket import ControlChannel, control_pair
from tlsrt.errors import PeerError, TlsrtError
from tlsrt.supervisor.process.attestation import differences_of
from tlsrt.supervisor.process.children import Child, HelperStart
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import Cause, Death, KillReason, cause_of_death
from tlsrt.supervisor.process.instance_lock import shared_lock
from tlsrt.supervisor.process.logs import open_log
from tlsrt.supervisor.process.signals import LINGER_S, send_signal
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor, Violation
from tlsrt.supervisor.supervision.backoff import RestartBackoff
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature

NAME = "helper"
REQUEST_S = 10.0  # for a driver to open a device; what takes longer is given up, and the helper with it
END_S = 1.0
WAITING_MAX = 64  # requests that it has not answered
# In the place of an errno:
AWAY = -1  # there is no helper now, or it has too much to do: nothing was sent
GONE = -2  # it was sent, and the helper ended before it answered: it may have been done
HUNG = -3  # the same, and this is what the helper did not come back from

Done = Callable[[int, int], None]  # an errno, 0, AWAY, GONE or HUNG; and a device, which is the callee's, or -1


class HelperProcess(Feature):
    """The one helper, over all its incarnations."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._log = -1
        self._channel: ControlChannel | None = None
        self._monitor: SyscallMonitor | None = None
        self._requests: dict[int, Done] = {}  # the one that it does now first
        self._late: Timer | None = None  # for that one
        self._number = 0
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
        self.is_wanted = self._context.current.config.needs_helper and not self.is_stopping
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
        rules = children.call_rules(NAME)
        if rules is not None:
            self._monitor = SyscallMonitor(self._context.event_loop, rules, self._violated)
        self._channel = ControlChannel(ours, HELPER)
        problem = ""
        try:
            if self._log < 0:
                self._log = open_log(self._context.current.config, NAME)
            reports = self._monitor.child_end if self._monitor is not None else None
            start = HelperStart(theirs, self._log, reports=reports)
            with shared_lock(self._context.lock) as share:
                self.child = children.spawn_helper(replace(start, keep=(share,)))
        except (OSError, TlsrtError) as error:
            problem = f"cannot be forked: {error}"
        os.close(theirs)
        if self._monitor is not None:
            self._monitor.forked(self.child)
        if self.child is None:
            self._clean_up(Death(Cause.FORK, problem, at=time.time()))
            return
        self._context.events.emit("spawned", NAME, pid=self.child.host_pid, restarts=self.restarts)
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
        differences = differences_of(NAME, self.child, self.managed_by, self._monitor)
        if differences:
            self._context.events.emit("difference", NAME, differences[0])
            self.kill(f"attestation: {'; '.join(differences)}", Cause.ATTESTATION)
        return differences == []

    def _violated(self, violation: Violation) -> None:
        """It runs our code only: any call that it may not make is a bug or an attack, and ends it."""
        self._context.console.bad(NAME, "killed", violation.sentence)
        self._context.events.emit("violation", NAME, violation.sentence, call=violation.call, ends=True)
        self.kill(f"violation: {violation.sentence}", Cause.POLICY)

    def kill(self, reason: str, cause: Cause = Cause.PROTOCOL) -> None:
        """Kill it, with all that it was asked; another one comes if it is needed."""
        if self.child is None or self._kill_reason is not None:
            return
        self._context.events.emit("killed", NAME, reason, cause=str(cause))
        self._kill_reason = KillReason(cause, reason)
        self._close_channel()
        send_signal(self.child, signal.SIGKILL)
        self.managed_by.clear(NAME)

    def _died(self) -> None:
        reason = self.managed_by.reap(self.child) if self.child is not None else None
        if self.child is None or reason is None:
            return
        self._context.event_loop.forget(self.child.pidfd)
        os.close(self.child.pidfd)
        self.child = None
        kills = self.managed_by.oom_kills(NAME)
        self._clean_up_last(cause_of_death(reason, self._kill_reason, oom_kills=kills, at=time.time()))

    def _clean_up_last(self, death: Death) -> None:
        if self.managed_by.clear(NAME):
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
        self._context.events.emit_death(NAME, death, served_s, is_wanted=is_asked_for)
        if is_asked_for:
            return
        delay_s = self._backoff.died(served_s)
        when = f"again in {delay_s:.3g} s" if delay_s else "again at once"
        self._context.console.bad(NAME, "died", f"{death}; {when}")
        self.restarts += 1
        self._next = self._context.event_loop.call_later(delay_s, self._spawn)

    def _close_channel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._channel is not None:
            self._context.event_loop.forget(self._channel.fileno())
            self._channel.close()
            self._channel = None
        self._fail_all(GONE)

    def _fail_all(self, first: int) -> None:
        """Tell who asked that no answer comes; `first` is for what the helper did when it ended."""
        if self._late is not None:
            self._late.cancel()
        requests, self._requests = self._requests, {}
        for place, done in enumerate(requests.values()):
            done(GONE if place else first, -1)

    def _hung(self) -> None:
        """End a helper that a driver holds up."""
        self._is_sealed = False  # so that who is told does not ask this one again
        self._fail_all(HUNG)
        self.kill(f"did not answer in {REQUEST_S:g} s: a driver holds it", Cause.DEADLINE)

    def _time_next(self) -> None:
        """Begin the deadline of the request that is the first now."""
        if self._late is not None:
            self._late.cancel()
        self._late = self._context.event_loop.call_later(REQUEST_S, self._hung) if self._requests else None

    # What it is asked

    def write(self, place: int, value: int, done: Done) -> None:
        """Have a number written to the setting behind a descriptor (O_PATH), which stays the caller's."""
        self._ask("write", done, place, value)

    def open(self, place: int, fields: tuple[int, ...], done: Done) -> None:
        """Have the device behind a descriptor (O_PATH) opened; `fields` are those of OpenMessage."""
        self._ask("open", done, place, *fields)

    def hand(self, name: str, descriptor: int) -> None:
        """Hand over a descriptor that it keeps; it stays the caller's too, and nothing answers."""
        if self._channel is None or not self.is_attested:
            return
        try:
            self._channel.send(name, descriptors=(descriptor,))
        except PeerError as error:
            self.kill(f"does not read its channel: {error.reason}")

    def _ask(self, name: str, done: Done, place: int, *fields: int) -> None:
        if self._channel is None or not self.is_attested or len(self._requests) >= WAITING_MAX:
            done(AWAY, -1)
            return
        self._number += 1
        try:
            self._channel.send(name, self._number, *fields, descriptors=(place,))
        except PeerError as error:
            self.kill(f"does not read its channel: {error.reason}")
            done(AWAY, -1)
            return
        self._requests[self._number] = done
        if len(self._requests) == 1:
            self._time_next()

    def _hear(self) -> None:
        try:
            while self._channel is not None:
                state = "sealed" if self._is_sealed else "new"
                received = self._channel.receive(NAME, state, descriptors=True)
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
                self.kill(f"helper protocol: {error.reason}")

    def _take(self, name: str, message: Any, descriptors: list[int]) -> None:
        if name == "sealed":
            self._is_sealed = self.attest()
            if self._is_sealed:
                self._ready()
            return
        done = self._requests.pop(message.number, None)
        if done is None:
            for descriptor in descriptors:
                os.close(descriptor)
            raise PeerError("unasked")
        self._time_next()
        if name == "opened":
            done(0, descriptors[0])
        else:
            done(message.error, -1)

    def _ready(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._context.events.emit("attested", NAME)
        for callback in self.on_ready:
            callback()
