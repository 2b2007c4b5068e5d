"""The orderly end of one loop: drain, stop, SIGTERM, SIGKILL of all that is in it, within `limits.stop_timeout_s`.

Half of that time is for draining, a quarter for stopping. A loop that was not ready yet holds nothing and is killed
at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.process.children import Common
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.signals import send_signal
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import LoopEvent

_SERVING = (LoopState.READY, LoopState.ACTIVE)


class GracefulStop:
    """Ends one incarnation of a loop. The fleet lets it know what the loop says, and calls `then` when it is dead."""

    def __init__(
        self, common: Common, fleet: Loops, member: Loop, then: Callable[[Loop], None],
        longest_s: float = float("inf"),
    ) -> None:  # fmt: skip
        self._common = common
        self._fleet = fleet
        self._timers: list[Timer] = []
        self._longest_s = longest_s
        self._member = member
        self.then = then
        self.killed = False

    def begin(self, reason: str, *, hurry: bool = False) -> None:
        """Start; `reason` is for a loop that is killed at once: it does not serve yet, or there is a hurry."""
        member = self._member
        member.farewell = self
        self._fleet.monitor.forget(member.name)
        member.set_deadline(None)
        if member.state in _SERVING and not hurry:
            self._drain()
        elif member.state is not LoopState.STOPPING:
            self._fleet.condemn(member, LoopEvent.STOP, reason)
        else:
            self._kill()

    def drained(self) -> None:
        """Go on: the loop has said that its work is done."""
        self._stop()

    def cancel(self) -> None:
        """Let the timers go: it is dead."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _drain(self) -> None:
        seconds = min(self._common.config.limits.stop_timeout_s, self._longest_s)
        self._member.move(LoopEvent.DRAIN)
        self._later(seconds / 2, self._stop)
        self._later(seconds * 3 / 4, self._terminate)
        self._later(seconds, self._kill)
        self._fleet.tell(self._member, "drain", round(seconds * 500))

    def _stop(self) -> None:
        if self._member.state is LoopState.DRAINING:
            self._member.move(LoopEvent.STOP)
            self._fleet.tell(self._member, "stop")

    def _terminate(self) -> None:
        if self._member.child is not None:
            send_signal(self._member.child, signal.SIGTERM)

    def _kill(self) -> None:
        self.killed = True
        if self._member.child is not None:
            send_signal(self._member.child, signal.SIGKILL)
            self._member.is_killed = True
            self._common.parts.clear(self._member.name)  # whatever it has forked, too

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._common.reactor.call_later(seconds, callback))
