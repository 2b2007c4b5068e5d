"""The feature that writes every event and every line of a log to the journal, or to standard output as JSON.

Nothing waits for it: some entries are kept until they are taken, what is more is left out, and that is said. So it is
with lines of a process that are over its rate.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tlsrt.rate_limit import Bucket
from tlsrt.sandbox.profile.program_profile import program_label
from tlsrt.supervisor.events import bus
from tlsrt.supervisor.events.bus import wall_ms
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.events.event_kinds import Severity
from tlsrt.supervisor.events.log_entry import WARNING, LogEntry, entry_of_event, entry_of_line_untrusted
from tlsrt.supervisor.events.log_files import LogFiles
from tlsrt.supervisor.process.folder_watch import MODIFIED, FolderWatch
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature

LOOK_S = 0.25  # between two looks at files that grow
POLL_S = 1.0  # where the kernel does not say that they grow
SOON_S, LATE_S = 0.05, 2.0  # until what did not take an entry is tried again
WAITING_MOST = 512  # entries for it
WAITING_MINOR = WAITING_MOST // 2  # of these for lines and events of severity info: a flood of them hides no alarm
# Events of severity info: clients can cause these, and journald, which has a rate for a service, would drop alarms too.
INFO_BURST, INFO_PER_S = 1000, 100.0
SAID_S = 10.0  # between two events about what was left out
SUPERVISOR = "supervisor"


class LogSink(Protocol):
    """Where entries go."""

    def write(self, entry: LogEntry) -> bool:
        """Write an entry without waiting; False if it was not taken."""


class Nowhere:
    """The sink of a host that has none."""

    def write(self, entry: LogEntry) -> bool:
        return True


class LogOutput(Feature):
    """Hears every event, and reads the log files when they grow."""

    def __init__(
        self, context: Context, sink: LogSink | None, folder: Path, forward: LogSink | None = None
    ) -> None:  # fmt: skip
        """Write to `sink`, and once to `forward`, which keeps for itself what it cannot send now.

        Without a sink nothing is read before there are collectors, perhaps by a reload.
        """
        self._context = context
        self._sink = sink or Nowhere()
        self._forward = forward or Nowhere()
        self._waiting: deque[LogEntry] = deque()
        self._info = Bucket(INFO_BURST, INFO_PER_S)
        self._lost = 0
        self._said_at: dict[str, float] = {}
        self._is_due = False
        self._is_to_say = False
        self._files: LogFiles | None = None
        self._watch = FolderWatch(context.event_loop, self._changed, MODIFIED)
        self._folder = folder
        self._has_warned = False
        context.events.listeners.append(self._event)
        if sink is not None or context.current.config.log.collectors:
            self._begin()

    def _begin(self) -> None:
        self._files = LogFiles(self._folder, self._line)
        self._watch.watch([str(self._folder)])
        if isinstance(self._context.console, LogConsole):
            self._context.console.go_through(self._write)
        if self._watch.is_deaf:
            self._look_in(POLL_S)

    def stopped(self, exit_code: int) -> None:
        if self._files is None:
            self._watch.close()
            return
        self._files.read(self._context.event_loop.now)
        self._watch.close()
        while self._waiting and self._sink.write(self._waiting[0]):
            self._waiting.popleft()
        if self._lost:
            self._say_lost()
        self._said_at.clear()
        self._say_left_out()

    # Events

    def _event(self, event: HostEvent) -> None:
        if self._files is None:
            if event.name.name != "reloaded" or not self._context.current.config.log.collectors:
                return
            self._begin()
        if event.name.severity is Severity.INFO and not self._info.take(self._context.event_loop.now):
            self._lose()
            return
        config = self._context.current.config
        processes = {one.address: one.process for one in config.components} | {
            loop.name: loop.name for loop in config.loops
        }
        programs = {
            program_label(one, program.name): (one.address, program.name)
            for one in config.components
            for program in one.all_programs
        }
        self._write(entry_of_event(event, processes, _place(), programs))

    def _write(self, entry: LogEntry) -> None:
        self._forward.write(entry)
        if not self._waiting and self._sink.write(entry):
            return
        is_line = not entry.event and bool(entry.loop)  # a process chooses its priority
        is_grave = entry.priority <= WARNING and not is_line
        if len(self._waiting) >= (WAITING_MOST if is_grave else WAITING_MINOR):
            self._lose()
            return
        self._waiting.append(entry)
        if len(self._waiting) == 1:
            self._again(SOON_S)

    def _again(self, delay_s: float) -> None:
        self._context.event_loop.call_later(delay_s, lambda: self._try_again(delay_s))

    def _try_again(self, delay_s: float) -> None:
        before = len(self._waiting)
        while self._waiting and self._sink.write(self._waiting[0]):
            self._waiting.popleft()
        if self._waiting:
            self._again(SOON_S if len(self._waiting) < before else min(2 * delay_s, LATE_S))

    def _lose(self) -> None:
        self._lost += 1
        if self._lost == 1:
            self._context.event_loop.call_later(SAID_S, self._tell_lost)

    def _tell_lost(self) -> None:
        if self._waiting:  # nothing is taken: it is told later
            self._context.event_loop.call_later(SAID_S, self._tell_lost)
        elif self._lost:
            self._say_lost()

    def _say_lost(self) -> None:
        lost, self._lost = self._lost, 0
        self._context.events.emit("entries_lost", SUPERVISOR, f"{lost} of them", entries=lost)

    # Lines

    def _changed(self) -> None:
        self._look_in(LOOK_S)

    def _look_in(self, delay_s: float) -> None:
        if not self._is_due:
            self._is_due = True
            self._context.event_loop.call_later(delay_s, self._look)

    def _look(self) -> None:
        assert self._files is not None
        self._is_due = False
        self._watch.arm()
        now = self._context.event_loop.now
        if self._files.read(now):
            self._changed()
        elif self._watch.is_deaf:
            self._look_in(POLL_S)
        if self._files.is_unreadable and not self._has_warned:
            self._has_warned = True
            reason = f"the file system of {self._folder} cannot be read without waiting for it"
            self._context.console.warning(SUPERVISOR, f"lines of logs are left out here: {reason}")
        self._say_left_out()

    def _say_left_out(self) -> None:
        """Say of each process what was left out, now and then."""
        assert self._files is not None
        now, is_later = self._context.event_loop.now, False
        for process, tail in self._files.tails.items():
            if tail.left_out and now >= self._said_at.get(process, 0.0) + SAID_S:
                self._said_at[process] = now
                lines = tail.take_left_out()
                self._context.events.emit("lines_left_out", process, f"{lines} of them", lines=lines)
            is_later = is_later or tail.left_out > 0
        if is_later and not self._is_to_say:
            self._is_to_say = True
            self._context.event_loop.call_later(SAID_S, self._say_later)

    def _say_later(self) -> None:
        self._is_to_say = False
        self._say_left_out()

    def _line(self, process: str, line: bytes) -> None:
        components = self._context.current.config.components_of(process)
        programs = [(one.address, program.name) for one in components for program in one.all_programs]
        addresses = [one.address for one in components]
        self._write(entry_of_line_untrusted(line, process, addresses, wall_ms(), programs))


class LogConsole:
    """The console of a host whose events go elsewhere: only what is no event is written, the warnings."""

    def __init__(self, sink: LogSink) -> None:
        self._write: Callable[[LogEntry], object] = sink.write

    def go_through(self, write: Callable[[LogEntry], object]) -> None:
        """Hand entries over to what keeps them until they are taken."""
        self._write = write

    def good(self, name: str, word: str, text: str = "") -> None: ...
    def plain(self, name: str, word: str, text: str = "") -> None: ...
    def bad(self, name: str, word: str, text: str = "") -> None: ...

    def warning(self, name: str, text: str) -> None:
        self._write(LogEntry(wall_ms(), WARNING, f"{name}: {text}", subject=name))


def _place() -> tuple[str, int, str] | None:
    """Return where the event that is being told was emitted."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename == bus.__file__:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname
