"""The host's clock, as an external client knows it. Pure but for reading its own clock.

Every time in a frame is CLOCK_BOOTTIME of the host. A grant carries the authority's now, which was earlier by what the
grant took to arrive; so the true time is never before what a grant says, and the latest estimate of all grants of a
connection is the best one.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.clock import boottime_ms

REBOOT_MS = 60_000  # a clock that jumps back by more belongs to another life of the host


class HostClock:
    """An offset to our own clock, in ms."""

    def __init__(self, read: Callable[[], int] = boottime_ms) -> None:
        self._read = read
        self._offset: int | None = None

    def now(self) -> int:
        """Return the host's BOOTTIME in ms, at most one trip behind."""
        return self._read() + (self._offset or 0)

    def jumped(self, host_now: int) -> bool:
        """Tell whether a first grant of a connection shows that the host's clock has started anew."""
        return self._offset is not None and abs(host_now - self.now()) > REBOOT_MS

    def learn(self, host_now: int, *, first: bool) -> None:
        """Take a grant's now; the first one of a connection replaces what was known."""
        offset = host_now - self._read()
        self._offset = offset if first or self._offset is None else max(offset, self._offset)
