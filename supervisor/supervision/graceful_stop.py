"""Graceful stop of one loop: drain, stop, SIGTERM, SIGKILL of all that is in it, within `limits.stop_timeout_s`.

Half of that time is for draining, a quarter for stopping. Programs that stay have their `stop_seconds` besides: the
loop's component asks them to end when its own work is done. A loop that was not ready yet holds nothing and is killed
at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from tlsrt.channels.control.life import LoopState
from tlsrt.config.programs import ProgramConfig, end_s_of
from tlsrt.sandbox.profile.program_profile import PlacedProgram
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.signals import send_signal
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import LoopEvent

_SERVING = (LoopState.READY, LoopState.ACTIVE)


class GracefulStop:
    """Ends one incarnation of a loop. `Loops` passes on what the loop says, and calls `then` when it is dead."""

    def __init__(
        self, context: Context, loops: Loops, loop: Loop, then: Callable[[Loop], None],
        longest_s: float = float("inf"), *, is_short: bool = False,
    ) -> None:  # fmt: skip
        """`is_short`: its programs have no time of their own."""
        self._context = context
        self._loops = loops
        self._timers: list[Timer] = []
        self._longest_s = longest_s
        self._is_short = is_short
        self._loop = loop
        self.then = then
        self.killed = False

    def begin(self, reason: str, *, hurry: bool = False) -> None:
        """Start; `reason` is for a loop that is killed at once: it does not serve yet, or there is a hurry."""
        loop = self._loop
        loop.process.graceful_stop = self
        self._loops.monitor.forget(loop.name)
        loop.process.set_deadline(None)
        if loop.state in _SERVING and not hurry:
            self._drain()
        elif loop.state is not LoopState.STOPPING:
            self._loops.kill(loop, LoopEvent.STOP, reason)
        else:
            self._kill()

    def drained(self) -> None:
        """Go on: the loop has finished its work."""
        self._stop()

    def cancel(self) -> None:
        """Let the timers go: it is dead."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _drain(self) -> None:
        seconds = min(self._context.current.config.limits.stop_timeout_s, self._longest_s)
        children = self._loop.managed_by
        more = 0.0 if children is None or self._is_short else end_s(children.programs_of(self._loop.name))
        self._loop.move(LoopEvent.DRAIN)
        self._later(seconds / 2 + more, self._stop)
        self._later(seconds * 3 / 4 + more, self._terminate)
        self._later(seconds + more, self._kill)
        self._loops.tell(self._loop, "drain", round(seconds * 500))

    def _stop(self) -> None:
        if self._loop.state is LoopState.DRAINING:
            self._loop.move(LoopEvent.STOP)
            self._loops.tell(self._loop, "stop")

    def _terminate(self) -> None:
        if self._loop.process.child is not None:
            send_signal(self._loop.process.child, signal.SIGTERM)

    def _kill(self) -> None:
        self.killed = True
        if self._loop.process.child is not None:
            send_signal(self._loop.process.child, signal.SIGKILL)
            self._loop.process.is_killed = True
            self._context.current.children.clear(self._loop.name)  # whatever it has forked, too

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._context.event_loop.call_later(seconds, callback))


def end_s(programs: Sequence[PlacedProgram]) -> float:
    """Return how long the programs of a process may take to end; its components stop one after another."""
    by_component: dict[str, list[ProgramConfig]] = {}
    for one in programs:
        by_component.setdefault(one.component.address, []).append(one.program)
    return sum(map(end_s_of, by_component.values()))
