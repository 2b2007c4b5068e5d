"""The report of a start on the console: a line per loop, the door, and what to do next."""

from __future__ import annotations

import os
from pathlib import Path

from tlsrt.channels.control.life import LoopState
from tlsrt.command_line.hint import command_line
from tlsrt.supervisor.process.component_listeners import ComponentListeners
from tlsrt.supervisor.process.listeners import DOOR
from tlsrt.supervisor.process.preload import PAUSE_S
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.who_serves import has_started, without

_QUIET_S = 1.0  # after a start: what a second authority needs is imported then, so that it comes in milliseconds


class StartupReport(Feature):
    """Prints each thing once, when it is true."""

    def __init__(
        self, context: Context, loops: Loops, authority: AuthorityProcess, listeners: ComponentListeners,
        began_at: float,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._authority = authority
        self._listeners = listeners
        self._began_at = began_at  # of the operator's command, in seconds of the event loop's clock
        self._said_warnings: list[str] = []
        self._is_done = False

    def loop_active(self, loop: Loop) -> None:
        """A loop serves."""
        pid = loop.process.child.host_pid if loop.process.child is not None else 0
        summary = self._context.current.children.sandbox(loop.name).summary
        words = [f"pid {pid}", self._took(loop.spawned_at), summary]
        self._context.console.good(loop.name, "active", "  ".join(word for word in words if word))

    def authority_booted(self) -> None:
        """Report a restarted authority; at the start there is nothing to report."""
        child = self._authority.process.child
        if self._authority.restarts and child is not None:
            text = f"pid {child.host_pid}  {self._took(self._authority.spawned_at)}"
            self._context.console.good(AUTHORITY, "active", text)
        if self._authority.reports.warnings != self._said_warnings:  # one that comes again repeats them
            self._said_warnings = self._authority.reports.warnings
            for warning in self._authority.reports.warnings:
                self._context.console.warning(AUTHORITY, warning)

    def loop_changed(self, loop: Loop) -> None:
        """Print the last lines of a start as soon as no loop is on its way for the first time."""
        if self._is_done or not has_started(self._loops.all):
            return
        self._is_done = True
        door = self._context.current.config.door
        host = f"[{door.host}]" if ":" in door.host else door.host
        console = self._context.console
        count = sum(loop.state is LoopState.ACTIVE for loop in self._loops.all if not loop.config.is_part)
        if self._loops.all[0].state is LoopState.ACTIVE and self._loops.is_locked:
            console.bad(DOOR, "locked", f"tls://{host}:{door.port}; `tlsrt-supervisor unlock` opens it")
        elif self._loops.all[0].state is LoopState.ACTIVE:
            console.good(DOOR, "open", f"tls://{host}:{door.port} (TLS 1.3, mutual)")
        for listener in self._listeners.all:
            console.good("listener", "open", listener.sentence)
        if limits := self._context.current.children.limits():
            console.plain("limits", "", limits)
        elapsed_s = self._context.event_loop.now - self._began_at
        away = without(self._loops.all)
        self._context.events.emit(
            "ready", "supervisor", away, loops=count, took_ms=round(elapsed_s * 1000), door=f"tls://{host}:{door.port}"
        )
        following = _next_step(self._context.current.config.path, is_locked=self._loops.is_locked)
        took = f"in {elapsed_s:.2f} s{', ' if away else ''}{away}"
        console.plain("ready", f"{count} loops", f"{took}; next, in a second terminal: {following}")
        self._context.event_loop.call_later(_QUIET_S, self._preload)

    def _preload(self) -> None:
        """Let a second authority start in milliseconds, a little at a time: this loop is the one that revokes."""
        if self._context.current.children.preload_authority():
            self._context.event_loop.call_later(PAUSE_S, self._preload)

    def _took(self, since: float) -> str:
        return f"{(self._context.event_loop.now - since) * 1000:.0f} ms"


def _next_step(config: Path, *, is_locked: bool) -> str:
    """Return a command line to type now; it names no file that the command finds by itself."""
    is_found = config.parent == Path(os.getcwd(), "var")
    if is_locked:
        return command_line("tlsrt-supervisor", "unlock", *([] if is_found else ["--config", config]))
    bundle = config.parent / "admin.tlsrt"
    named = ["--bundle", bundle] if bundle.exists() and not is_found else []
    return command_line("tlsrt", *named, "call", "primary/kernel", "uname")
