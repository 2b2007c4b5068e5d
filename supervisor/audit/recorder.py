"""Recorder: the port of the audit log, for what is recorded before it has an effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tlsrt.channels.clock import Moment
from tlsrt.supervisor.audit.record import Detail

__all__ = ["Detail"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a record may take to reach the disk, and what its refusal means."""

    wait_ms: int
    is_done_anyway: bool = False  # what it records takes effect without it, so a late record is still true


PROMPT = Patience(250, is_done_anyway=True)  # what ends or shuts out something: a slow disk must not hold that up
OPENING = Patience(8_000)  # a session: below the 10 s within which the door and the client want an answer
OPERATOR = Patience(30_000)  # a command: it succeeds late. Several syncs of 5 s fit in

Then = Callable[[], None]
Otherwise = Callable[[str], None]  # with a sentence that says why it was refused


class Recorder(Protocol):
    """The audit log, for what has something to record."""

    def note(self, kind: str, subject: str, detail: Detail, moment: Moment) -> None:
        """Write an ordinary record soon; one that cannot be written is counted in a later one."""

    def before(
        self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise,
        patience: Patience = OPERATOR,
    ) -> None:  # fmt: skip
        """Write a record durably, then call `then`. Call `otherwise` if that failed, or took longer than `patience`."""

    def name_root_key(self, public: bytes) -> None:
        """Name the root key that signs the next life of the log."""
