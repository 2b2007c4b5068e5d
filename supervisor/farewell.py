"""The orderly end of one loop: drain, stop, SIGTERM, SIGKILL, within `limits.stop_timeout_s`.

Half of that time is for draining, a quarter for stopping. A loop that was not ready yet holds nothing and is killed
at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from tlsrt.channels.life import LoopState
from tlsrt.supervisor.deaths import send_signal
from tlsrt.supervisor.fleet import Fleet
from tlsrt.supervisor.lifecycle import Event
from tlsrt.supervisor.member import Member
from tlsrt.supervisor.parts import Common
from tlsrt.supervisor.reactor import Timer

_SERVING = (LoopState.READY, LoopState.ACTIVE)


class Farewell:
    """Ends one incarnation of a loop; its death is told by the fleet."""

    def __init__(self, common: Common, fleet: Fleet, member: Member, longest_s: float = float("inf")) -> None:
        self._common = common
        self._fleet = fleet
        self._timers: list[Timer] = []
        self._longest_s = longest_s
        self.member = member
        self.killed = False

    def begin(self, reason: str, *, hurry: bool = False) -> None:
        """Start; `reason` is for a loop that is killed at once: it does not serve yet, or there is a hurry."""
        member = self.member
        self._fleet.monitor.forget(member.name)
        member.set_deadline(None)
        if member.state in _SERVING and not hurry:
            self._drain()
        elif member.state is not LoopState.STOPPING:
            self._fleet.condemn(member, Event.STOP, reason)
        else:
            self._kill()

    def drained(self) -> None:
        """Go on: the loop has said that its work is done."""
        self._stop()

    def cancel(self) -> None:
        """Let the timers go: it is dead, or somebody else ends it."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _drain(self) -> None:
        seconds = min(self._common.config.limits.stop_timeout_s, self._longest_s)
        self.member.move(Event.DRAIN)
        self._later(seconds / 2, self._stop)
        self._later(seconds * 3 / 4, self._terminate)
        self._later(seconds, self._kill)
        self._fleet.tell(self.member, "drain", round(seconds * 500))

    def _stop(self) -> None:
        if self.member.state is LoopState.DRAINING:
            self.member.move(Event.STOP)
            self._fleet.tell(self.member, "stop")

    def _terminate(self) -> None:
        if self.member.child is not None:
            send_signal(self.member.child, signal.SIGTERM)

    def _kill(self) -> None:
        self.killed = True
        if self.member.child is not None:
            send_signal(self.member.child, signal.SIGKILL)

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._common.reactor.call_later(seconds, callback))
