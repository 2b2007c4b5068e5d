"""What the supervisor knows of a run of a program, of a program over all its runs, and which slots are in use."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Protocol

from tlsrt.channels.control.program_outcome import SENTENCES, Outcome
from tlsrt.rate_limit import Bucket
from tlsrt.sandbox.profile.program_profile import SLOT_MARK, PlacedProgram
from tlsrt.supervisor.process.children import CallRules, Child, Children, LauncherWord
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import ExitReason
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.running_changes import RunningChanges
from tlsrt.text import printable

_WORDS_BYTES = 4096
_WORDS = 400  # characters that are shown
EVENTS_BURST, EVENTS_PER_S = 8, 0.5  # of one program; what is not told then is counted in the next


class Asker(Protocol):
    """What has a program run that no component asked for."""

    @property
    def run_as(self) -> CallRules:
        """Return what becomes of the calls of the program."""

    def handed(self, data: socket.socket, leash: socket.socket) -> None:
        """Take the other ends of the program's input and output, and of what ends it when closed: to be duplicated."""

    def over(self, outcome: Outcome) -> None:
        """Hear that nothing of the run is left, or that there was none."""


@dataclass(slots=True)
class ProgramRun:
    """One run: its process, from the request to its end."""

    loop: Loop
    incarnation: int
    index: int  # by which its component knows the program; -1 if that did not ask for it
    placed: PlacedProgram
    slot: str
    children: Children
    asker: Asker | None = None  # None: the component
    number: int = 0
    child: Child | None = None
    monitor: SyscallMonitor | None = None
    control: socket.socket | None = None
    leash: socket.socket | None = None
    words: socket.socket | None = None  # what its launcher says
    notices: socket.socket | None = None  # what its NOTIFY_SOCKET stands for
    listeners: dict[str, int] = field(default_factory=dict[str, int])  # copies: a reload may close ours meanwhile
    deadline: Timer | None = None
    begun_at: float = 0.0
    word: LauncherWord | None = None  # the last one of its launcher
    outcome: Outcome | None = None  # why it was killed
    why: str = ""

    @property
    def passed(self) -> tuple[tuple[str, int], ...]:
        """Return the names of the sockets that it begins with, and their descriptors here; each may be gone by now."""
        names = [one.name for one in self.placed.program.passed]
        return tuple((name, self.listeners[name]) for name in names if name in self.listeners)

    def sentence(self, outcome: Outcome, reason: ExitReason) -> str:
        """Say how it has ended; of a launcher that failed, why."""
        if self.why:
            return self.why
        if outcome is Outcome.FAILED:
            return f"it could not be started: {self._last_words() or reason}"
        how = {Outcome.ENDED: f"with status {reason.code}", Outcome.SIGNALLED: f"by signal {reason.signal}"}
        return how.get(outcome, SENTENCES[outcome])

    def close_sockets(self) -> None:
        """Let go of what it was listened to with, and of its listeners."""
        for one in (self.words, self.notices):
            if one is not None:
                one.close()
        self.words = self.notices = None
        while self.listeners:
            os.close(self.listeners.popitem()[1])

    def _last_words(self) -> str:
        """Return the last line that a launcher said: of our own code, before it executed what is foreign."""
        try:
            said = self.words.recv(_WORDS_BYTES) if self.words is not None else b""
        except OSError:
            return ""
        line = said.rstrip(b"\n").rpartition(b"\n")[2].decode(errors="replace")
        return printable(line.removeprefix("tlsrt: "), _WORDS)

    @property
    def name(self) -> str:
        """Return what people call it: `third.notes/gzip #3`."""
        return f"{self.placed.label} #{self.number}"


@dataclass(slots=True)
class ProgramRecord:
    """What is known of one program, over all its runs."""

    events: Bucket = field(default_factory=lambda: Bucket(EVENTS_BURST, EVENTS_PER_S))
    begun: int = 0
    ends: Counter[str] = field(default_factory=Counter[str])
    last: str | None = None
    is_down: bool = False  # while nothing of it runs: it should, or the last run should not have ended as it did
    untold: int = 0

    def note(self, run: ProgramRun, outcome: Outcome, status: int, sentence: str) -> None:
        """Keep how a run has ended."""
        self.ends[outcome.name.lower()] += 1
        self.last = f"#{run.number}: {sentence}" if run.number else sentence
        program = run.placed.program
        is_good = outcome is Outcome.CANCELLED or (outcome is Outcome.ENDED and not status and not program.is_kept)
        self.is_down = not is_good and (program.is_kept or bool(program.worker))


class ProgramSlots:
    """The slots that have control groups: those of the configuration, and those of earlier ones that still run."""

    def __init__(self, context: Context, changes: RunningChanges) -> None:
        self._context = context
        self._changes = changes
        self._known: set[str] = set()
        self._learn()

    def sweep(self, running: Set[str]) -> None:
        """Let go of what slots had that are in no configuration any more: after a reload, or after their last run."""
        if self._changes.is_reloading:  # the new configuration may have them again; its end comes here, too
            return
        children = self._context.current.children
        for slot in self._known - children.profiles.keys() - running:
            children.remove(slot)
            self._known.discard(slot)
        self._learn()

    def _learn(self) -> None:
        self._known.update(slot for slot in self._context.current.children.profiles if SLOT_MARK in slot)
