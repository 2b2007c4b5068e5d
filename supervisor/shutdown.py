"""The orderly end: loops in reverse order, one after another, the authority last.

Each loop is asked to drain, then to stop, then gets SIGTERM, and is killed when `limits.stop_timeout_s` is over; half
of that time is for draining, a quarter for stopping. A loop that was not ready yet holds nothing and is killed at
once. `hurry` kills everything now.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial

from tlsrt.channels.life import LoopState
from tlsrt.supervisor.deaths import send_signal
from tlsrt.supervisor.fleet import Fleet
from tlsrt.supervisor.lifecycle import Event
from tlsrt.supervisor.member import Member
from tlsrt.supervisor.office import NAME, Office
from tlsrt.supervisor.parts import Child, Common
from tlsrt.supervisor.reactor import Timer

_SERVING = (LoopState.READY, LoopState.ACTIVE)


class Shutdown:
    """One end of one life; `on_done` is called when the last process is gone."""

    def __init__(self, common: Common, fleet: Fleet, office: Office, on_done: Callable[[], None]) -> None:
        self._common = common
        self._fleet = fleet
        self._office = office
        self._on_done = on_done
        self._current: Member | None = None
        self._began = 0.0
        self._timers: list[Timer] = []
        self._hurrying = False
        self._killed = False
        self.is_running = False
        self.quiet = False  # print no line per process

    def begin(self) -> None:
        """Start it; beginning again changes nothing."""
        if self.is_running:
            return
        self.is_running = True
        self._fleet.stopping = True
        self._office.stopping = True
        self._fleet.on_drained = self._drained
        self._fleet.on_dead = self._dead
        self._office.on_dead = self._authority_dead
        for member in self._fleet.members:
            if member.state in (LoopState.BACKOFF, LoopState.FAILED):
                member.move(Event.STOP)
                member.set_deadline(None)
        self._next()

    def hurry(self) -> None:
        """Kill everything at once."""
        self._hurrying = True
        self.begin()
        for member in self._fleet.living():
            self._kill(member.child)
        self._kill(self._office.child)

    def _next(self) -> None:
        self._clear()
        member = next((member for member in reversed(self._fleet.members) if member.is_living), None)
        if member is None:
            self._end_authority()
            return
        self._current = member
        self._began = self._common.reactor.now
        self._fleet.monitor.forget(member.name)
        member.set_deadline(None)
        if member.state in _SERVING and not self._hurrying:
            self._drain(member)
        elif member.state is not LoopState.STOPPING:
            self._fleet.condemn(member, Event.STOP, "stopped while it started")
        else:
            self._kill(member.child)

    def _drain(self, member: Member) -> None:
        seconds = self._common.config.limits.stop_timeout_s
        member.move(Event.DRAIN)
        self._fleet.tell(member, "drain", round(seconds * 500))
        self._later(seconds / 2, partial(self._stop, member))
        self._later(seconds * 3 / 4, partial(self._terminate, member))
        self._later(seconds, partial(self._kill, member.child))

    def _drained(self, member: Member) -> None:
        self._stop(member)

    def _stop(self, member: Member) -> None:
        if member is self._current and member.state is LoopState.DRAINING:
            member.move(Event.STOP)
            self._fleet.tell(member, "stop")

    def _terminate(self, member: Member) -> None:
        if member.child is not None:
            send_signal(member.child, signal.SIGTERM)

    def _kill(self, child: Child | None) -> None:
        self._killed = True
        if child is not None:
            send_signal(child, signal.SIGKILL)

    def _dead(self, member: Member) -> None:
        self._report(member.name, member.last_death or "")
        if member is self._current or self._hurrying:
            self._next()

    def _report(self, name: str, how: str) -> None:
        if self.quiet:
            return
        elapsed_ms = (self._common.reactor.now - self._began) * 1000
        if self._killed:
            self._common.console.bad(name, "killed", f"after {elapsed_ms:.0f} ms")
        else:
            text = f"{elapsed_ms:.0f} ms" if how == "exit code 0" else f"{elapsed_ms:.0f} ms, {how}"
            self._common.console.plain(name, "stopped", text)

    def _end_authority(self) -> None:
        self._current = None
        self._began = self._common.reactor.now
        child = self._office.child
        if child is None:
            self._on_done()
            return
        seconds = self._common.config.limits.stop_timeout_s
        if self._hurrying:
            self._kill(child)
        self._office.stop()
        self._later(seconds * 3 / 4, partial(send_signal, child, signal.SIGTERM))
        self._later(seconds, partial(self._kill, child))

    def _authority_dead(self) -> None:
        if self._current is None:
            self._clear()
            self._report(NAME, self._office.last_death or "")
            self._on_done()

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._common.reactor.call_later(seconds, callback))

    def _clear(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._killed = self._hurrying
