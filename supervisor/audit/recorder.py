"""Recorder: the port of the audit log, for what is recorded before it has an effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tlsrt.channels.clock import Moment
from tlsrt.supervisor.audit.record import Detail

__all__ = ["Detail"]

Then = Callable[[], None]
Otherwise = Callable[[str], None]  # with a sentence that says why it was refused


class Recorder(Protocol):
    """The audit log, for what has something to record."""

    def note(self, kind: str, subject: str, detail: Detail, moment: Moment) -> None:
        """Write an ordinary record soon; one that cannot be written is counted in a later one."""

    def before(self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise) -> None:
        """Write a record durably, then call `then`. Call `otherwise` if that was not possible within 250 ms."""

    def name_root_key(self, public: bytes) -> None:
        """Name the root key that signs the next life of the log."""
