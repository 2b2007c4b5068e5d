"""What a component says it is doing, in one line: bounded, and not too often. Pure."""

from __future__ import annotations

from tlsrt.rate_limit import Bucket
from tlsrt.text import printable

TOPIC = "status"
LENGTH_MAX = 200
BURST, PER_S = 10, 1.0


class StatusText:
    """The last line that was told, and how many since then were not."""

    def __init__(self) -> None:
        self._bucket = Bucket(BURST, PER_S)
        self._last = ""
        self._left_out = 0

    def told(self, text: str, now: float) -> str:
        """Return the line to tell, with the number of those that were left out before it; empty for none."""
        line = printable(text, LENGTH_MAX)
        if line == self._last:
            return ""
        if not self._bucket.take(now):
            self._left_out += 1
            return ""
        left_out, self._left_out, self._last = self._left_out, 0, line
        return f"{line} ({left_out} before it were too many a second)" if left_out else line
