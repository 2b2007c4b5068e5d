"""The last hour and day of a host: samples of documents of the status. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsrt.loops.sampling.number_history import PERIODS_S, NumberHistory, Span

SERIES = ("frames", "refused", "memory", "lateness", "active")  # per s, per s, bytes, ms, processes


class StatusHistory:
    """Makes samples of documents of the status, and keeps them."""

    def __init__(self) -> None:
        self._numbers = NumberHistory(SERIES)
        self._before: Mapping[tuple[str, Any], tuple[int, int]] | None = None  # of each life: frames, and refused ones
        self._sampled_at = 0.0

    def is_due(self, now_s: float) -> bool:
        """Tell whether a sample is wanted: once for each bucket of the shortest span."""
        return self._before is None or now_s // PERIODS_S["hour"] > self._sampled_at // PERIODS_S["hour"]

    def take(self, document: Mapping[str, Any], now_s: float) -> None:
        """Take one status. The first one says what is counted from, and is no sample."""
        loops = document["loops"]
        counts = {(one["name"], one["incarnation"]): (one["frames"]["in"], one["frames"]["refused"]) for one in loops}
        before, elapsed_s = self._before, now_s - self._sampled_at
        self._before, self._sampled_at = counts, now_s
        if before is None or elapsed_s <= 0:
            return
        grown = [0, 0]
        for life, counted in counts.items():  # another life counts from nothing
            for at, (now, then) in enumerate(zip(counted, before.get(life, (0, 0)), strict=True)):
                grown[at] += max(0, now - then)
        processes = [*loops, document["authority"]]
        values = (
            grown[0] / elapsed_s,
            grown[1] / elapsed_s,
            1024.0 * sum(one["memory_kib"] or 0 for one in processes),
            max((one["lateness_ms"] or 0.0 for one in processes), default=0.0),
            float(sum(one["state"] == "active" for one in loops)),
        )
        self._numbers.add(values, now_s)

    def told(self, span: Span, now_s: float) -> dict[str, Any]:
        """Return what is known of a span, see `NumberHistory.told`."""
        return self._numbers.told(span, now_s)
