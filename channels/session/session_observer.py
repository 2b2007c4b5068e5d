"""What an endpoint tells of its session: to who makes calls, and to who holds requests with numbers."""

from __future__ import annotations

from typing import Protocol


class SessionObserver(Protocol):
    """What makes calls over an endpoint: it is told when they cannot be answered."""

    def on_recipient_restarted(self, target: str) -> None:
        """Another incarnation of a recipient serves now."""

    def on_session_ended(self) -> None:
        """Another session begins; the calls of the one before have ended with it."""

    def on_denied(self, target: str) -> None:
        """A call was asked for that this session has no right to."""


class NumberHolder(Protocol):
    """What holds requests whose numbers were taken, and that are not sealed yet."""

    def release_requests(self) -> None:
        """Seal and send them: frames leave in the order of their numbers."""
