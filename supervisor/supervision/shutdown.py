"""The orderly end: loops one after another as `graceful_stop.py` says, the authority last.

They end in reverse order of the start, and forth's behind Primary: what delays the machine's own end, an inhibitor of
logind, is held there, so that it lasts until all others have ended. Its holder may end the host, and ends last of all.

Who begins it may say within which time: each process has at most half of what is left then. So one that hangs takes
time from the others, and not all of it.

Before the authority ends, what they have set is undone, for as long as one loop may take to stop: it has the audit log,
which hears of that and of what is left. `hurry` kills everything now.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from tlsrt.channels.control.life import LoopState
from tlsrt.config.runtime_rights import Act, rights_to_runtime
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.process.children import Child
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.instance_lock import host_pid
from tlsrt.supervisor.process.signals import send_signal
from tlsrt.supervisor.supervision.authority_process import NAME, AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import ControlVerb, Feature, Features, Reply, Request
from tlsrt.supervisor.supervision.graceful_stop import GracefulStop
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import DOWN_FOR_GOOD, LoopEvent
from tlsrt.supervisor.supervision.undoing import Undoing

FORTH = "forth"  # power management
WITHIN_LEAST_S = 1.0
SHARE_LEAST_S = 0.25  # of one process, also when no time is left: an idle one ends in less


class Shutdown(Feature):
    """The one end of one life: why it came, the exit code, and the order in which processes end."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, undoing: Undoing, features: Features
    ) -> None:
        self._context = context
        self._loops = loops
        self._authority = authority
        self._features = features
        self._undoing = undoing
        undoing.on_done.append(self._undone)
        self._is_undoing = False
        self._current: Loop | None = None
        self._graceful_stop: GracefulStop | None = None
        self._began = 0.0
        self._until = float("inf")
        self._timers: list[Timer] = []
        self._hurrying = False
        self._killed = False
        self.quiet = False  # print no line per process
        self.is_running = False
        self.is_done = False
        self.exit_code = 0
        self.error: TlsrtError | None = None  # because of which the host does not start, or cannot go on

    def begin(self, within_s: float = 0) -> None:
        """Start it; beginning again changes nothing. `within_s` of 0 is as long as the configuration says."""
        if self.is_running:
            return
        self.is_running = True
        if within_s:
            self._until = self._context.event_loop.now + max(within_s, WITHIN_LEAST_S)
        self._features.stopping()
        for loop in self._loops.all:
            if loop.state in (LoopState.BACKOFF, *DOWN_FOR_GOOD):
                loop.move(LoopEvent.STOP)
                loop.process.set_deadline(None)
        self._next()

    def interrupt(self) -> None:
        """Stop in order; asked again, kill what is still there."""
        if self.is_running:
            self.hurry()
        else:
            self.begin()

    def refused(self, error: TlsrtError) -> None:
        """Stop because of an error that the command line prints; what has not served yet is killed in silence."""
        self.error = self.error or error
        if any(loop.was_active for loop in self._loops.all):
            self.begin()
        else:
            self.quiet = True
            self.hurry()

    def failed(self, exit_code: int) -> None:
        self.exit_code = self.exit_code or exit_code
        self.begin()

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {"stop": ControlVerb(self._stop_verb, is_held=True)}

    def _stop_verb(self, request: Request, reply: Reply) -> None:
        reply({"stopping": True, "pid": host_pid()})
        self._context.event_loop.call_later(0, self.begin)  # the answer leaves first

    def hurry(self) -> None:
        """Kill everything at once."""
        self._hurrying = True
        self.begin()
        for loop in self._loops.living():
            self._kill(loop.process.child)
            loop.process.is_killed = True
        self._undone("it was told to end at once")
        self._kill(self._authority.process.child)

    def _next(self) -> None:
        self._clear()
        loop = next((loop for loop in ending_order(self._loops.all, self._holders()) if loop.is_living), None)
        if loop is None:
            self._undo()
            return
        self._current = loop
        self._began = self._context.event_loop.now
        if loop.is_ending and not self._hurrying:
            return  # it was asked to end before
        is_short = self._until != float("inf")
        self._graceful_stop = GracefulStop(
            self._context, self._loops, loop, self.loop_ended, self._longest_s(), is_short=is_short
        )
        self._graceful_stop.begin("stopped while it started", hurry=self._hurrying)

    def _longest_s(self) -> float:
        """Return how long the next one may take."""
        left = self._until - self._context.event_loop.now
        return min(self._context.current.config.limits.stop_timeout_s, max(left / 2, SHARE_LEAST_S))

    def _holders(self) -> set[str]:
        config = self._context.current.config
        return {
            loop.name
            for loop in self._loops.all
            if any(one.act is Act.SHUTDOWN for one in rights_to_runtime(config.components_of(loop.name)))
        }

    def _kill(self, child: Child | None) -> None:
        self._killed = True
        if child is not None:
            send_signal(child, signal.SIGKILL)

    def loop_ended(self, loop: Loop) -> None:
        self._report(loop.name, str(loop.last_death or ""))
        if loop is self._current or self._hurrying:
            self._next()

    def _report(self, name: str, how: str) -> None:
        if self.quiet:
            return
        elapsed_ms = (self._context.event_loop.now - self._began) * 1000
        if self._killed or (self._graceful_stop is not None and self._graceful_stop.killed):
            self._context.console.bad(name, "killed", f"after {elapsed_ms:.0f} ms")
        else:
            text = f"{elapsed_ms:.0f} ms" if how == "exit code 0" else f"{elapsed_ms:.0f} ms, {how}"
            self._context.console.plain(name, "stopped", text)

    def _undo(self) -> None:
        """Wait until what the loops have set is undone."""
        self._current = None
        self._is_undoing = True
        if self._hurrying or not self._undoing.is_busy:
            self._undone("it was told to end at once")
            return
        seconds = self._longest_s()
        self._later(seconds, partial(self._undone, f"the network helper did not do it in {seconds:g} s"))

    def _undone(self, why: str = "") -> None:
        if not self._is_undoing:
            return
        self._is_undoing = False
        self._clear()
        if self._undoing.is_busy:
            what = self._undoing.give_up(why)
            self._context.console.warning("supervisor", f"{what}: not undone, as {why}; undo it by hand")
        self._end_authority()

    def _end_authority(self) -> None:
        self._current = None
        self._began = self._context.event_loop.now
        child = self._authority.process.child
        if child is None:
            self._done()
            return
        seconds = self._longest_s()
        if self._hurrying:
            self._kill(child)
        self._authority.stop()
        self._later(seconds * 3 / 4, partial(send_signal, child, signal.SIGTERM))
        self._later(seconds, partial(self._kill, child))

    def authority_ended(self) -> None:
        if self._current is None:
            self._clear()
            self._report(NAME, str(self._authority.last_death or ""))
            self._done()

    def _done(self) -> None:
        self._features.stopped(self.exit_code)
        self.is_done = True

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._context.event_loop.call_later(seconds, callback))

    def _clear(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._graceful_stop = None
        self._killed = self._hurrying


def ending_order(loops: Sequence[Loop], holders: Collection[str] = ()) -> list[Loop]:
    """Return the loops in the order in which they end; of Forth, `holders` are last."""
    backwards = list(reversed(loops))
    forth = [loop for loop in backwards if loop.name.partition(".")[0] == FORTH]
    return [*(one for one in backwards if one not in forth), *sorted(forth, key=lambda one: one.name in holders)]
