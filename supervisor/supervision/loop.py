"""One supervised loop as the supervisor knows it: its place in the table, its process, its channels, its past."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from tlsrt.channels.control.health import HealthOutcome
from tlsrt.channels.control.life import LoopState
from tlsrt.config.schema import LoopConfig
from tlsrt.config.supervision import PRIMARY
from tlsrt.supervisor.process.children import Child, Children
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import Cause, Death, KillReason
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor
from tlsrt.supervisor.supervision.life_channel import LifeChannel
from tlsrt.supervisor.supervision.states import LIVING, TRUSTED, LoopEvent, advance


class PermanentFailure(Enum):
    """Why trying again would end the same way."""

    SANDBOX = "this host cannot confine it"
    IMPORT = "its code cannot be imported"


class Leave(Protocol):
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


@dataclass(slots=True)
class Loop:
    """One loop; one object for all its incarnations."""

    config: LoopConfig
    index: int
    log: int
    log_path: str
    state: LoopState = LoopState.DOWN
    incarnation: int = 0
    managed_by: Children | None = None  # what spawned its process, or has adopted it: its profile
    graceful_stop: Leave | None = None  # it is being ended in order
    child: Child | None = None
    life: LifeChannel | None = None
    syscall_monitor: SyscallMonitor | None = None
    authority_end: int = -1  # of the trust pair; kept for an authority that comes again
    loop_end: int = -1  # of the trust pair; only until the fork
    spawned_at: float = 0.0
    active_at: float | None = None
    was_active: bool = False
    is_proven: bool = False  # it was active under the profile that it has now
    activating: bool = False
    restarts: int = 0
    last_death: Death | None = None
    hopeless: PermanentFailure | None = None  # why trying again would end the same way
    verdict: KillReason | None = None  # why it has to end, until it is dead
    is_killed: bool = False  # by a SIGKILL of ours, until it is dead
    attested_epoch: int | None = None
    beat: Beat | None = None
    false_beats: int = 0  # since the last beat that its event loop made
    checked: dict[int, Checked] = field(default_factory=dict[int, Checked])  # by the index of the component
    deadline: Timer | None = None
    on_moved: Callable[[Loop, LoopState, LoopEvent], None] = lambda loop, before, event: None

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def is_ending(self) -> bool:
        return self.graceful_stop is not None

    @property
    def is_living(self) -> bool:
        return self.state in LIVING

    @property
    def is_trusted(self) -> bool:
        return self.state in TRUSTED

    @property
    def is_primary(self) -> bool:
        return self.config.name == PRIMARY

    def move(self, event: LoopEvent) -> None:
        """Take one step of the table. Raises InternalError and stays where it is if there is none."""
        before = self.state
        self.state = advance(before, event)
        self.on_moved(self, before, event)

    def judge(self, cause: Cause, sentence: str) -> None:
        """Note why it has to end; the first reason is the one that counts."""
        self.verdict = self.verdict or KillReason(cause, sentence)

    def set_deadline(self, timer: Timer | None) -> None:
        """Replace the one running deadline of this loop."""
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = timer

    def close_channels(self, forget: Callable[[int], None]) -> None:
        """Close what belongs to the incarnation that ended."""
        if self.syscall_monitor is not None:
            self.syscall_monitor.close()
            self.syscall_monitor = None
        if self.life is not None:
            forget(self.life.fileno())
            self.life.close()
            self.life = None
        for descriptor in (self.authority_end, self.loop_end):
            if descriptor >= 0:
                os.close(descriptor)
        self.authority_end = self.loop_end = -1
