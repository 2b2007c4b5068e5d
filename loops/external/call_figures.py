"""How calls go that are there: loss and round trip, as RTCP and the buffers tell. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tlsrt.loops.external.call import Call

EVERY_S = 5.0


class CallFigures:
    """Sets the gauges `round_trip_ms` and `lost_percent` to the worst of the calls that are there."""

    def __init__(self, gauge: Callable[[str, float], None]) -> None:
        self._gauge = gauge
        self._last: dict[str, tuple[float, float]] = {}  # by call

    async def follow(self, call: Call) -> None:
        """Look at a call again and again; to be cancelled with it."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                sides = (await call_figures(call))["sides"].values()
                told = [one[part] for one in sides for part in ("to", "pictures") if part in one]
                trips = [one["round_trip_ms"] or 0.0 for one in told if "round_trip_ms" in one]
                losses = [100 * one["lost_lately"] for one in told if "lost_lately" in one]
                self._last[call.id] = max(trips, default=0.0), max(losses, default=0.0)
                self._set()
        finally:
            self._last.pop(call.id, None)
            self._set()

    def _set(self) -> None:
        self._gauge("round_trip_ms", max((trip for trip, _ in self._last.values()), default=0.0))
        self._gauge("lost_percent", max((lost for _, lost in self._last.values()), default=0.0))


async def call_figures(call: Call) -> dict[str, Any]:
    """Return how a call goes, with the figures of each of its sides."""
    sides = {one.address: await one.figures() for one in call.parties()}
    return {"call": call.id, "state": call.state.value, "held_by": sorted(call.holds), "sides": sides}
