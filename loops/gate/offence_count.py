"""How many frames that break rules somebody has sent lately, with all of his connections together. Pure."""

from __future__ import annotations

BURST = 64.0  # an honest client has none
PER_S = 4.0


class OffenceCount:
    """A leaky bucket for each client. Only granted sessions send frames, so there are as many as clients."""

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}

    def note(self, subject: str, now_s: float) -> bool:
        """Count one; return whether that is too many."""
        level, since = self._buckets.get(subject, (0.0, now_s))
        level = max(0.0, level - (now_s - since) * PER_S) + 1
        self._buckets[subject] = min(level, 2 * BURST), now_s
        return level > BURST
