"""What a loop tells of its disk: with each beat for how long it has not answered, and once that it has. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from tlsrt.loops.component.component import Component
from tlsrt.loops.component.component_disk import disk_threads_of

TOLD_S = 1.0  # a shorter wait is none
# Of disks only: ETIMEDOUT, ENODEV and ENXIO also come from a peer in the network or a device that is not there.
DISK_ERRORS = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE})


class DiskWaits:
    """The disk threads of all components of a loop."""

    def __init__(self, components: Iterable[Component]) -> None:
        self._disks = [disk for component in components for disk in disk_threads_of(component)]
        self._is_told = False

    def next_report(self) -> int | None:
        """Return what to tell now (ms, 0: nothing waits any more), or None if that is nothing new."""
        longest = max((disk.waits_s() for disk in self._disks), default=0.0)
        if longest >= TOLD_S:
            return int(longest * 1000)
        return 0 if self._is_told else None

    def told(self, for_ms: int) -> None:
        """Take note of a report that was sent."""
        self._is_told = for_ms > 0


def is_of_disk(error: BaseException) -> bool:
    """Tell whether an error says that a disk refuses, so that the same thing may succeed later."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS
