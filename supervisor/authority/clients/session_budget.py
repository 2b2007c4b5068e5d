"""Session budget: how many sessions a client may have at once, and how many it may open a second. Pure.

At the limit a new session takes the place of the client's own that was silent longest, if that was for so long that no
call can be open in it: so a client whose machine lost its power, and whose connections were never closed, gets in. If
all are in use the new one has to wait, as a client that cut its own sessions would open them again for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

from tlsrt.budget import Budget, Spending
from tlsrt.channels.frames.frame import DEADLINE_MAX_MS
from tlsrt.config.schema import LimitsConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.sessions.manager import Session

SILENT_MS = DEADLINE_MAX_MS + 10_000  # the longest deadline, and a window of telemetry
CLIENTS_MAX = 4096  # whose openings are counted


class SessionBudget:
    """The budget of each client; times are BOOTTIME in ms."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._most = limits.sessions_per_client
        self._openings = Spending(limits.openings_burst, limits.openings_per_s, subjects_max=CLIENTS_MAX)

    def take(self, subject: str, present: Iterable[Session], now: int) -> Session | None:
        """Take one opening. Return the session that has to end for it, if any; raise PeerError over the budget."""
        if not self._openings.take(subject, now / 1000):
            raise PeerError(Budget.OPENINGS)
        sessions = list(present)
        if len(sessions) < self._most:
            return None
        silent = min(sessions, key=lambda session: session.heard)
        if now - silent.heard < SILENT_MS:
            raise PeerError(Budget.SESSIONS)
        return silent
