"""One supervised loop as the supervisor knows it: its place in the table, its process, its channels, its past."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from tlsrt.channels.control.health import HealthOutcome, Readiness
from tlsrt.channels.control.life import LoopState, WorkMessage
from tlsrt.config.components import LoopConfig
from tlsrt.config.supervision import PRIMARY
from tlsrt.supervisor.process.children import Child, Children
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import Cause, Death, KillReason
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor
from tlsrt.supervisor.supervision.life_channel import LifeChannel
from tlsrt.supervisor.supervision.states import LIVING, TRUSTED, LoopEvent, advance
from tlsrt.supervisor.supervision.visible_sleep import VisibleSleep


class PermanentFailure(Enum):
    """Why trying again would end the same way."""

    SANDBOX = "this host cannot confine it"
    IMPORT = "its code cannot be imported"
    CODE = "its code is not what was sealed"
    CONFIGURATION = "a component cannot run with its configuration"


class Stop(Protocol):
    """The orderly end of one incarnation, see `graceful_stop.py`."""

    then: Callable[[Loop], None]  # called when it is dead, unless the host stops

    def drained(self) -> None: ...
    def cancel(self) -> None: ...


class Beat(NamedTuple):
    """What a loop says about itself twice a second; claims, not evidence."""

    sequence: int
    lateness_us: int
    queue_depth: int
    resident_kib: int
    frames_in: int
    frames_out: int
    refused: int
    sessions: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Checked:
    """The last check of a component, as its loop says: how it ended, how many in a row failed, when it was told."""

    outcome: HealthOutcome
    fails: int
    at: float


@dataclass(frozen=True, slots=True)
class ComponentState:
    """What a component says of itself besides its health: ready or not, its tasks, and how often one was restarted."""

    readiness: Readiness = Readiness.UNASKED
    tasks: int = 0
    restarts: int = 0


@dataclass(slots=True)
class Incarnation:
    """What belongs to one process of a loop, from before its fork to its end; the next one starts with a new object."""

    child: Child | None = None
    life: LifeChannel | None = None
    syscall_monitor: SyscallMonitor | None = None
    authority_end: int = -1  # of the trust pair; kept for an authority that comes again
    loop_end: int = -1  # of the trust pair; only until the fork
    deadline: Timer | None = None
    attested_epoch: int | None = None
    is_activating: bool = False
    active_at: float | None = None
    beat: Beat | None = None
    sleep: VisibleSleep = field(default_factory=VisibleSleep)
    false_beats: int = 0  # since the last beat that its event loop made
    checked: dict[int, Checked] = field(default_factory=dict[int, Checked])  # by the index of the component
    work: WorkMessage | None = None  # of its threads, as it says
    components: dict[int, ComponentState] = field(default_factory=dict[int, ComponentState])  # by the index, too
    graceful_stop: Stop | None = None  # it is being ended in order
    kill_reason: KillReason | None = None  # why it has to end
    is_killed: bool = False  # by a SIGKILL of ours
    permanent_failure: PermanentFailure | None = None  # why trying again would end the same way

    def set_kill_reason(self, cause: Cause, sentence: str, said: str = "") -> None:
        """Note why it has to end; the first reason is the one that counts."""
        self.kill_reason = self.kill_reason or KillReason(cause, sentence, said)

    def set_deadline(self, timer: Timer | None) -> None:
        """Replace its one running deadline."""
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = timer

    def close_life(self, forget: Callable[[int], None]) -> None:
        """Close the life channel; `forget` takes its descriptor out of the event loop."""
        if self.life is not None:
            forget(self.life.fileno())
            self.life.close()
            self.life = None

    def close(self, forget: Callable[[int], None]) -> None:
        """Give back what it holds: it has ended."""
        self.set_deadline(None)
        if self.graceful_stop is not None:
            self.graceful_stop.cancel()
        if self.syscall_monitor is not None:
            self.syscall_monitor.close()
        self.close_life(forget)
        for descriptor in (self.authority_end, self.loop_end):
            if descriptor >= 0:
                os.close(descriptor)


@dataclass(slots=True)
class Loop:
    """One loop over all its incarnations; `process` is the one that lives, or the next one."""

    config: LoopConfig
    index: int
    log: int
    log_path: str
    state: LoopState = LoopState.DOWN
    incarnation: int = 0  # number of the last one that was spawned
    managed_by: Children | None = None  # what spawned its last process, or has adopted it: its profile
    spawned_at: float = 0.0
    was_active: bool = False
    is_proven: bool = False  # it was active under the profile that it has now
    restarts: int = 0
    last_death: Death | None = None
    process: Incarnation = field(default_factory=Incarnation)
    on_moved: Callable[[Loop, LoopState, LoopEvent], None] = lambda loop, before, event: None

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def is_ending(self) -> bool:
        return self.process.graceful_stop is not None

    @property
    def is_living(self) -> bool:
        return self.state in LIVING

    @property
    def is_trusted(self) -> bool:
        return self.state in TRUSTED

    @property
    def is_primary(self) -> bool:
        return self.config.name == PRIMARY

    @property
    def host_pid(self) -> int:
        """Return the pid of its process as the host sees it, 0 if there is none."""
        return self.process.child.host_pid if self.process.child is not None else 0

    def move(self, event: LoopEvent) -> None:
        """Take one step of the table. Raises InternalError and stays where it is if there is none."""
        before = self.state
        self.state = advance(before, event)
        self.on_moved(self, before, event)

    def end(self, death: Death) -> Incarnation:
        """Note how its process ended, and make room for the next; return the incarnation that has ended."""
        self.last_death = death
        self.move(LoopEvent.EXITED)
        ended, self.process = self.process, Incarnation()
        return ended
