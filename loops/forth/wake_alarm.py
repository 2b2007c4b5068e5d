"""The alarm of a clock that wakes the machine: Documentation/ABI/testing/rtc-cdev, /sys/class/rtc/rtc0/wakealarm.

The file has the seconds of the clock itself, which may not be those of the system's clock. An alarm that is set already
must be taken back before another one: the kernel answers EBUSY.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from tlsrt import InvalidArgument, Unavailable

CLOCK = "class/rtc/rtc0"
LEAST_S, MOST_S = 5, 366 * 86400
SETTING = "wake"  # under `needs: settings`


class WakeAlarm:
    """The alarm of the first clock. `write` sets the value of a setting that is granted."""

    def __init__(self, sys: Path, write: Callable[[str, int], Awaitable[None]]) -> None:
        self._folder = sys / CLOCK
        self._write = write

    def left_s(self) -> int | None:
        """Return the seconds until the alarm, None if none is set. Raises Unavailable without such a clock."""
        now, at = self._number("since_epoch"), self._number("wakealarm")
        if now is None:
            raise Unavailable("this machine has no clock that wakes it: there is no /sys/class/rtc/rtc0")
        return at - now if at else None

    async def set(self, in_s: int) -> None:
        """Set the alarm, in the place of one that is set. Raises InvalidArgument, Unavailable, and as `set` does."""
        if not LEAST_S <= in_s <= MOST_S:
            raise InvalidArgument(f"an alarm is {LEAST_S} seconds to a year ahead, not {in_s} seconds")
        await self.clear()
        now = self._number("since_epoch")
        assert now is not None  # `clear` has looked
        await self._write(SETTING, now + in_s)

    async def clear(self) -> None:
        """Take the alarm back, if one is set. Raises as `left_s` does."""
        if self.left_s() is not None:
            await self._write(SETTING, 0)

    def _number(self, name: str) -> int | None:
        try:
            text = (self._folder / name).read_text().strip()
        except OSError:
            return None
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
