"""The way out of the authority's services: to the loops, to the supervisor, to the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Outgoing(Protocol):
    """Never raises for what a peer did; a loop that cannot be told anything is dealt with after the handler."""

    def send(self, loop: str, name: str, *fields: object, descriptors: Sequence[int] = ()) -> None:
        """Send a trust message; a loop without a channel is skipped."""

    def tell(self, name: str, *fields: object) -> None:
        """Send an office message."""

    def is_blocked(self, loop: str) -> bool:
        """Tell whether messages wait for this loop to read."""
        ...

    def log(self, line: str) -> None:
        """Write one line to the authority's log."""
