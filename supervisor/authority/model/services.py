"""What the parts of the authority that guard each other ask of each other, and what stands there where one is not.

The recorder writes down what matters before it has an effect, the lock shuts the host, the response weighs offences
and answers them. Each knows the others by these protocols only. All times are BOOTTIME in ms, but for `wall`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

Detail = Mapping[str, str | int]
Then = Callable[[], None]
Otherwise = Callable[[str], None]  # with a sentence that says why it was refused


class ChargeKind(StrEnum):
    """Whom an offence is charged to: what it came over, never what it claims to be."""

    PROCESS = "process"  # a loop's name
    SESSION = "session"  # session id, hex
    CHANNEL = "channel"  # a loop's channel or a component's mailbox
    ADDRESS = "address"  # of a peer that proved nothing


@dataclass(frozen=True, slots=True)
class Charge:
    """Who is charged."""

    kind: ChargeKind
    value: str


class Recorder(Protocol):
    """The audit log."""

    def note(self, kind: str, subject: str, detail: Detail, now: int, wall: int) -> None:
        """Write an ordinary record soon; one that cannot be written is counted in a later one."""

    def before(
        self, kind: str, subject: str, detail: Detail, now: int, wall: int, then: Then, otherwise: Otherwise
    ) -> None:
        """Write a record durably, then call `then`; call `otherwise` if that was not possible within 250 ms."""


class Lock(Protocol):
    """The lock of the whole host."""

    @property
    def is_locked(self) -> bool: ...

    def engage(self, reason: str, by: str, now: int, wall: int) -> None:
        """Lock; nothing if it is locked already."""


class Response(Protocol):
    """The detectors' common end: scores, and the ladder of steps."""

    def trip(self, detector: str, charge: Charge, detail: Detail, now: int, wall: int) -> None:
        """Answer a trigger: something that nobody does by accident."""

    def add(self, detector: str, charge: Charge, points: int, detail: Detail, now: int, wall: int) -> None:
        """Add points for something that may happen by accident, once."""


class NoRecorder:
    """Writes nothing: everything goes on at once."""

    def note(self, kind: str, subject: str, detail: Detail, now: int, wall: int) -> None:
        """Write nothing."""

    def before(
        self, kind: str, subject: str, detail: Detail, now: int, wall: int, then: Then, otherwise: Otherwise
    ) -> None:
        """Go on."""
        then()


class NoLock:
    """Never locks."""

    is_locked = False

    def engage(self, reason: str, by: str, now: int, wall: int) -> None:
        """Do nothing."""


class NoResponse:
    """Weighs nothing."""

    def trip(self, detector: str, charge: Charge, detail: Detail, now: int, wall: int) -> None:
        """Do nothing."""

    def add(self, detector: str, charge: Charge, points: int, detail: Detail, now: int, wall: int) -> None:
        """Do nothing."""
