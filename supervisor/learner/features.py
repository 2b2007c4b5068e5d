"""Features of a window: its numbers, ratios of them, and sums that fade slowly. Pure.

Everything is a level: the binary logarithm of one more than the number, so a step is a factor of two, for 10 requests
and for 10 million bytes alike. What grows by little in each window but goes on shows in the sums, which fade by half
in ten minutes: an attacker that is slow on purpose has to be slow for that long. A sum counts only while it grows:
what comes after something large is not large. What a subject calls first of all is not new: only after a while are
calls counted as such.
"""

from __future__ import annotations

from math import log2

from tlsrt.channels.control.telemetry import UNKNOWN, WINDOW_MS, Window

FADING_MS = 600_000  # half-life of the sums
SETTLING = 30  # windows of a subject in which nothing that it calls is new
LEVELS = 32  # the highest is 2^31 and more


class Sums:
    """What one subject did lately: numbers that fade."""

    __slots__ = (
        "_active", "_at", "_bytes_out", "_frames", "_methods", "_new_methods", "_refused", "_targets", "_windows",
    )  # fmt: skip

    def __init__(self, now: int) -> None:
        self._at = now
        self._windows = 0
        self._methods = self._targets = 0  # all that it ever called: sets, as in a window
        self._frames = self._bytes_out = self._new_methods = self._refused = self._active = 0.0

    def take(self, window: Window, now: int) -> list[float | None]:
        """Add a window and return all numbers of FEATURES; None is what says nothing. Times in ms, never backwards."""
        elapsed = max(0, now - self._at)
        self._at += elapsed
        kept = 0.5 ** (elapsed / FADING_MS)
        frames, bytes_in, bytes_out, methods, targets, refused, open_calls, busy_looks, peak = window
        is_settled = self._windows >= SETTLING
        self._windows = min(self._windows + 1, SETTLING)
        new_methods = (methods & ~self._methods).bit_count() if is_settled else 0
        new_targets = (targets & ~self._targets).bit_count() if is_settled else 0
        self._methods |= methods
        self._targets |= targets
        before = self._frames, self._bytes_out, self._new_methods, self._refused, self._active
        self._frames = self._frames * kept + frames
        self._bytes_out = self._bytes_out * kept + max(0, bytes_out)
        self._new_methods = self._new_methods * kept + new_methods
        self._refused = self._refused * kept + refused
        self._active = self._active * kept + 1
        after = self._frames, self._bytes_out, self._new_methods, self._refused, self._active
        grown = [now if now >= was else None for was, now in zip(before, after, strict=True)]
        sent = max(1, frames)
        return [
            frames,
            None if bytes_in == UNKNOWN else bytes_in,
            None if bytes_out == UNKNOWN else bytes_out,
            None if bytes_in == UNKNOWN else bytes_in / sent,
            None if bytes_out == UNKNOWN else bytes_out / sent,
            new_methods,
            new_targets,
            refused,
            open_calls,
            busy_looks,
            peak,
            max(0, elapsed // WINDOW_MS - 1),
            grown[0],
            None if bytes_out == UNKNOWN else grown[1],
            *grown[2:],
        ]


def level(number: float) -> int:
    """Return the level of a number that is not negative."""
    return min(LEVELS - 1, int(log2(1.0 + number) + 0.5))


def number_of(reached: int) -> int:
    """Return the number in the middle of a level."""
    return (1 << reached) - 1
