"""What the interfaces carried in the last hour and day: rates of their counters. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsrt.loops.sampling.number_history import NumberHistory, Span

_SERIES = {
    "received": ("received_bytes",),
    "sent": ("sent_bytes",),
    "dropped": ("received_dropped", "sent_dropped", "received_errors", "sent_errors"),
}
_APART_S = 1.0  # between two samples, at least: a rate over less says nothing
_LOOPBACK = "lo"


class Traffic:
    """Makes rates of counters, and keeps them."""

    def __init__(self) -> None:
        self._numbers = NumberHistory(tuple(_SERIES))
        self._before: Mapping[str, Mapping[str, int]] | None = None
        self._sampled_at = 0.0

    def take(self, counted: Mapping[str, Mapping[str, int]], now_s: float) -> None:
        """Take the counters by interface. The first ones say what is counted from, and are no sample."""
        before, elapsed_s = self._before, now_s - self._sampled_at
        if before is not None and elapsed_s < _APART_S:
            return
        self._before, self._sampled_at = counted, now_s
        if before is None:
            return
        both = [(its, before[name]) for name, its in counted.items() if name in before and name != _LOOPBACK]
        # One that was made anew under its name has counted less than before: nothing is known of it.
        grown = [sum(max(0, now[each] - then[each]) for now, then in both for each in of) for of in _SERIES.values()]
        self._numbers.add([one / elapsed_s for one in grown], now_s)

    def told(self, span: Span, now_s: float) -> dict[str, Any]:
        """Return what is known of a span, see `NumberHistory.told`."""
        return self._numbers.told(span, now_s)
