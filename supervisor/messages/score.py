"""Fading of anomaly scores: their half-life is a minute. Pure."""

from __future__ import annotations

HALF_LIFE_MS = 60_000


def faded(score: float, elapsed_ms: float) -> float:
    """Return what is left of a score after some time."""
    return float(score * 0.5 ** (max(0.0, elapsed_ms) / HALF_LIFE_MS))
