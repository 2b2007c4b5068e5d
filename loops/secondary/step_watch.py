"""Steps of the wall clock, seen by two clocks that should go alike."""

from __future__ import annotations

STEP_NS = 50_000_000  # smaller ones are not told from the pauses of this process
SLEW = 0.0006  # adjtimex(2) moves a clock by 500 ppm at most


class StepWatch:
    """Tells by how much the wall clock was set, from looks at it and at the time since boot. Pure."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None  # wall, boottime

    def look(self, before_ns: int, wall_ns: int, after_ns: int) -> int | None:
        """Return by how many ns the wall clock was set since the look before, None if it was not, or is not sure.

        `before_ns` and `after_ns` are the time since boot around the reading of the wall clock: a pause in between
        makes a look that says nothing.
        """
        if after_ns - before_ns > STEP_NS // 4:
            return None
        boot_ns, last = (before_ns + after_ns) // 2, self._last
        self._last = (wall_ns, boot_ns)
        if last is None:
            return None
        moved, passed = wall_ns - last[0], boot_ns - last[1]
        step = moved - passed
        return step if abs(step) > STEP_NS + int(passed * SLEW) else None
