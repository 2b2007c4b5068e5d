"""The orderly end: loops in reverse order, one after another as `graceful_stop.py` says, the authority last.

`hurry` kills everything now.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.process.children import Child, Common
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.signals import send_signal
from tlsrt.supervisor.supervision.authority_process import NAME, AuthorityProcess
from tlsrt.supervisor.supervision.graceful_stop import GracefulStop
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import DOWN_FOR_GOOD, LoopEvent


class Shutdown:
    """One end of one life; `on_done` is called when the last process is gone."""

    def __init__(self, common: Common, loops: Loops, authority: AuthorityProcess, on_done: Callable[[], None]) -> None:
        self._common = common
        self._loops = loops
        self._authority = authority
        self._on_done = on_done
        self._current: Loop | None = None
        self._graceful_stop: GracefulStop | None = None
        self._began = 0.0
        self._timers: list[Timer] = []
        self._hurrying = False
        self._killed = False
        self.is_running = False
        self.on_begin: Callable[[], None] = lambda: None
        self.quiet = False  # print no line per process

    def begin(self) -> None:
        """Start it; beginning again changes nothing."""
        if self.is_running:
            return
        self.is_running = True
        self.on_begin()
        self._loops.stopping = True
        self._authority.stopping = True
        self._loops.on_dead = self._dead
        self._authority.on_dead = self._authority_dead
        for loop in self._loops.all:
            if loop.state in (LoopState.BACKOFF, *DOWN_FOR_GOOD):
                loop.move(LoopEvent.STOP)
                loop.set_deadline(None)
        self._next()

    def hurry(self) -> None:
        """Kill everything at once."""
        self._hurrying = True
        self.begin()
        for loop in self._loops.living():
            self._kill(loop.child)
            loop.is_killed = True
        self._kill(self._authority.child)

    def _next(self) -> None:
        self._clear()
        loop = next((loop for loop in reversed(self._loops.all) if loop.is_living), None)
        if loop is None:
            self._end_authority()
            return
        self._current = loop
        self._began = self._common.event_loop.now
        if loop.is_ending and not self._hurrying:
            return  # somebody has asked it before
        self._graceful_stop = GracefulStop(self._common, self._loops, loop, self._dead)
        self._graceful_stop.begin("stopped while it started", hurry=self._hurrying)

    def _kill(self, child: Child | None) -> None:
        self._killed = True
        if child is not None:
            send_signal(child, signal.SIGKILL)

    def _dead(self, loop: Loop) -> None:
        self._report(loop.name, str(loop.last_death or ""))
        if loop is self._current or self._hurrying:
            self._next()

    def _report(self, name: str, how: str) -> None:
        if self.quiet:
            return
        elapsed_ms = (self._common.event_loop.now - self._began) * 1000
        if self._killed or (self._graceful_stop is not None and self._graceful_stop.killed):
            self._common.console.bad(name, "killed", f"after {elapsed_ms:.0f} ms")
        else:
            text = f"{elapsed_ms:.0f} ms" if how == "exit code 0" else f"{elapsed_ms:.0f} ms, {how}"
            self._common.console.plain(name, "stopped", text)

    def _end_authority(self) -> None:
        self._current = None
        self._began = self._common.event_loop.now
        child = self._authority.child
        if child is None:
            self._on_done()
            return
        seconds = self._common.config.limits.stop_timeout_s
        if self._hurrying:
            self._kill(child)
        self._authority.stop()
        self._later(seconds * 3 / 4, partial(send_signal, child, signal.SIGTERM))
        self._later(seconds, partial(self._kill, child))

    def _authority_dead(self) -> None:
        if self._current is None:
            self._clear()
            self._report(NAME, str(self._authority.last_death or ""))
            self._on_done()

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._common.event_loop.call_later(seconds, callback))

    def _clear(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._graceful_stop = None
        self._killed = self._hurrying
