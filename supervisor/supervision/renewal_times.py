"""When to order a certificate again. Pure; wall times in seconds since 1970, `chance` from 0 to 1.

A window that the CA names (RFC 9773) decides; else it is at two thirds of the life, some time earlier or later, so that
not all hosts come at once. What has failed is tried again ever more seldom, as a CA counts failures of an hour.
"""

from __future__ import annotations

from dataclasses import dataclass

SHARE, SPREAD = 2 / 3, 1 / 20  # of the life
FIRST_S, MOST_S = 60.0, 6 * 3600.0  # between two tries
WISH_MOST_S = 86400.0  # of a CA that wants to be left alone
ASK_LEAST_S, ASK_MOST_S, ASK_S = 3600.0, 86400.0, 6 * 3600.0  # between two looks at the window
HOLD_LEAST_S, HOLD_MOST_S, HOLD_SHARE = 600.0, 3600.0, 1 / 2  # from one that was issued to the next order
URGENT_SHARE = 1 / 6  # of its life that is left: a warning then


@dataclass(slots=True)
class RenewalTimes:
    """The times of one certificate. 0: not set."""

    begins: int = 0
    ends: int = 0
    renew_at: float = 0.0
    ask_at: float = 0.0  # for the window
    again_at: float = 0.0  # after a failure
    failures: int = 0  # in a row
    held_until: float = 0.0  # after one was issued, whatever the CA and the clock say

    def have(self, begins: int, ends: int, chance: float, now: float) -> None:
        """Take another certificate: of now, or of the state."""
        self.begins, self.ends = begins, ends
        self.renew_at = begins + (ends - begins) * (SHARE + (chance * 2 - 1) * SPREAD)
        self.ask_at = now
        self.forgive()

    def hold(self, now: float) -> None:
        """Note that the certificate was issued now: else a CA whose certificates end at once is asked without end."""
        life = float(self.ends - self.begins)
        self.held_until = now + min(max(life * HOLD_SHARE, HOLD_LEAST_S), HOLD_MOST_S)

    def order_at(self, now: float, *, is_right: bool) -> float:
        """Return when to order; `is_right`: the certificate has the names that are wanted."""
        is_held = is_right and self.held_until - now <= HOLD_MOST_S + 1  # else the clock was set back
        return max(self.renew_at if is_right else 0.0, self.again_at, self.held_until if is_held else 0.0)

    def forgive(self) -> None:
        """Forget the failures: what was ordered is not wanted any more."""
        self.again_at, self.failures = 0.0, 0

    def hear(self, start: int, end: int, again_s: int, chance: float, now: float) -> None:
        """Take the window that the CA names; none: 0."""
        self.ask_at = now + (min(max(again_s, ASK_LEAST_S), ASK_MOST_S) if again_s else ASK_S)
        if start and not start <= self.renew_at < end:  # one that was chosen within it stays
            self.renew_at = min(start + (end - start) * chance, self.ends - (self.ends - self.begins) * SPREAD)

    def fail(self, again_s: int, chance: float, now: float) -> None:
        """Note an order that failed; `again_s` is the CA's wish, or 0."""
        delay_s = min(FIRST_S * 2 ** min(self.failures, 16), MOST_S) * (0.75 + chance / 2)
        self.again_at = now + max(delay_s, min(again_s, WISH_MOST_S))
        self.failures += 1

    def unheard(self, now: float) -> None:
        """Note that the CA could not be asked for its window."""
        self.ask_at = now + ASK_LEAST_S

    def is_urgent(self, now: float) -> bool:
        """Tell whether it ends soon though it should have been renewed."""
        return bool(self.ends) and now > self.ends - (self.ends - self.begins) * URGENT_SHARE
