"""Ports of the authority: what its services need of each other, the shell and the log.

A service knows the others by these protocols only. What stands here is implemented once in the product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from tlsrt.budget import Budget
from tlsrt.channels.clock import Moment
from tlsrt.supervisor.audit.recorder import OPENING, PROMPT, Detail, Otherwise, Patience, Recorder, Then
from tlsrt.supervisor.authority.model.loop_table import LoopEntry

__all__ = ["OPENING", "PROMPT", "Detail", "Otherwise", "Patience", "Recorder", "Then"]

LoopHandler = Callable[[LoopEntry, Any, Moment], None]  # the loop, its message, when
SupervisorHandler = Callable[..., None]  # the message, when, and the descriptors that came with it


class Outgoing(Protocol):
    """The way out: to the loops, to the supervisor, to the log.

    Never raises for what a peer did; a loop that cannot be sent anything is dealt with after the handler.
    """

    def send(self, loop: str, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        """Send a trust message; a loop without a channel is skipped."""

    def tell(self, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        """Send a message to the supervisor."""

    def is_blocked(self, loop: str) -> bool:
        """Tell whether messages wait for this loop to read."""
        ...

    def log(self, line: str) -> None:
        """Write one line to the authority's log."""


class Service:
    """A part of the authority: the messages that it handles, and what it does in time.

    All services of one authority are in one tuple, in wiring.py. They take their turn in its order.
    """

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        """Return the handlers of messages of loops. Who may send each is in the table, channels/control/trust.py."""
        return {}

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        """Return the handlers of messages of the supervisor."""
        return {}

    def next_due(self) -> int | None:
        """Return when `tick` has something to do (BOOTTIME, ms), or None."""
        return None

    def tick(self, moment: Moment) -> None:
        """Do what is due."""

    def joined(self, loop: str, moment: Moment) -> None:
        """Note that a loop has got its keys."""


class SourceKind(StrEnum):
    """The kinds of subjects of a signal: what it came over, never what it claims to be."""

    PROCESS = "process"  # a loop's name
    SESSION = "session"  # session id, hex
    CHANNEL = "channel"  # a loop's channel or a component's mailbox: what Primary says of it
    ADDRESS = "address"  # of a peer that proved nothing
    ALERT = "alert"  # a component that reports an anomaly of the host: the host is meant, not the component


@dataclass(frozen=True, slots=True)
class SignalSource:
    """The subject of a signal."""

    kind: SourceKind
    value: str


class Lock(Protocol):
    """The lock of the whole host."""

    @property
    def is_locked(self) -> bool: ...

    def engage(self, reason: str, by: str, moment: Moment) -> None:
        """Lock; nothing if it is locked already."""


class Detection(Protocol):
    """Where the detectors' signals are scored and answered."""

    def trigger(self, detector: str, source: SignalSource, detail: Detail, moment: Moment) -> None:
        """Answer a signal that no subject causes by accident."""

    def add(self, detector: str, source: SignalSource, points: int, detail: Detail, moment: Moment) -> None:
        """Add points for a signal that may have an innocent cause. 0: the detector's own."""

    def over_budget(self, subject: str, budget: Budget, moment: Moment) -> None:
        """Tell that a subject used more than its share and is made to wait; nothing else follows."""
