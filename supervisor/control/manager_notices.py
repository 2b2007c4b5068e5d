"""Tells the service manager how this host is: ready, reloading, stopping, alive, and a line of status. sd_notify(3).

It says that it is alive from the turn of the watchdog, after heartbeats and the authority were judged: a supervisor
that hangs there, in whatever else, or is stopped by a signal says nothing, and the manager starts the host again.
While the host starts, reloads and stops it asks for time as long as it goes on; both have limits of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.messages.lock_record import LockRecord
from tlsrt.supervisor.process.service_manager import Manager, notice, status_line
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.graceful_stop import end_s
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.who_serves import has_started, without

EXTENSION_S = 30.0  # asked for again, each time something has happened or this much less ASK_S has passed
ASK_S = 5.0
_BEATS = 4  # within the time that the manager allows


class LockHolder(Protocol):
    """Who knows whether the host is locked, and by whom."""

    @property
    def record(self) -> LockRecord | None: ...


class ManagerNotices(Feature):
    """Says each thing when it becomes true, and the status when it changes."""

    def __init__(
        self, context: Context, loops: Loops, lock: LockHolder, manager: Manager,
        monotonic_us: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._lock = lock
        self._manager = manager
        self._monotonic_us = monotonic_us
        self._status = ""
        self._is_ready = False
        self._is_reloading = False
        self._refusal = ""  # of the last reload
        self._next_beat = 0.0
        self._next_asking = 0.0
        context.events.listeners.append(self._heard)
        self._ask_for_time()

    def loop_changed(self, loop: Loop) -> None:
        self._look()
        self._renew()

    def _look(self) -> None:
        """Be ready as soon as the door serves, and no loop is on its way for the first time."""
        if not self._is_ready and not self._loops.is_stopping:
            primary = self._loops.all[0]
            if primary.state is LoopState.ACTIVE and has_started(self._loops.all):
                self._is_ready = True
                self._say("READY=1")

    def loop_ended(self, loop: Loop) -> None:
        self._ask_for_time()
        self._renew()

    def judged(self) -> None:
        """Say that the supervisor is alive, after it has judged all others."""
        now = self._context.event_loop.now
        if self._manager.watchdog_us and now >= self._next_beat:
            self._next_beat = now + self._manager.watchdog_us / 1e6 / _BEATS
            self._manager.say(b"WATCHDOG=1")
        self._look()  # a reload may have removed the loop that others waited for
        if (self._is_reloading or not self._is_ready) and now >= self._next_asking:
            self._ask_for_time()
        self._renew()

    def stopping(self) -> None:
        self._is_reloading = False
        self._say("STOPPING=1")
        self._ask_for_time()

    def _heard(self, event: HostEvent) -> None:
        name = event.name.name
        if name == "reloading":
            self._refusal = ""
            if self._is_ready:  # a host that still starts would be ready by the end of its reload
                self._is_reloading = True
                self._manager.say(notice("RELOADING=1", MONOTONIC_USEC=self._monotonic_us()))
        elif name == "reload_refused" and not self._refusal:
            self._refusal = event.words
            self._reloaded()
        elif name == "reloaded":
            self._refusal = ""
            self._reloaded()

    def _reloaded(self) -> None:
        if self._is_reloading:
            self._is_reloading = False
            self._say("READY=1")

    def _ask_for_time(self) -> None:
        self._next_asking = self._context.event_loop.now + ASK_S
        per_process_s = self._context.current.config.limits.stop_timeout_s if self._loops.is_stopping else 0.0
        if self._loops.is_stopping:  # the next one may have programs that take their time
            children = [(one.managed_by, one.name) for one in self._loops.living() if one.managed_by is not None]
            per_process_s += max((end_s(each.programs_of(name)) for each, name in children), default=0.0)
        self._manager.say(notice(EXTEND_TIMEOUT_USEC=int((EXTENSION_S + per_process_s) * 1e6)))

    def _say(self, word: str) -> None:
        self._status = self._now()
        self._manager.say(notice(word, STATUS=self._status))

    def _renew(self) -> None:
        if (status := self._now()) != self._status:
            self._status = status
            self._manager.say(notice(STATUS=status))

    def _now(self) -> str:
        loops = [loop for loop in self._loops.all if not loop.config.is_part]
        serving = sum(loop.state is LoopState.ACTIVE for loop in loops)
        count = f"{serving} loops" if serving == len(loops) else f"{serving} of {len(loops)} loops"
        components = f"{len(self._context.current.config.components)} components"
        if self._loops.is_stopping:
            return status_line(["stopping", f"{serving} loops serve still" if serving else ""])
        if not self._is_ready:
            return status_line([f"starting: {count} serve"])
        record = self._lock.record
        return status_line([
            count,
            components,
            without(self._loops.all),
            f"locked by {record.by}" if record is not None else "",
            f"the last reload was refused: {self._refusal}" if self._refusal else "",
        ])  # fmt: skip
