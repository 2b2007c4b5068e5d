"""What is new in the log file of a process, as lines within a rate. Pure."""

from __future__ import annotations

from tlsrt.rate_limit import Bucket

LINES_BURST, LINES_PER_S = 200, 20.0  # of one process; journald takes 10,000 in 30 s of a whole unit
LINE_BYTES = 4096  # of one line; what follows of it is left out


class LogTail:
    """Cuts bytes into lines. What is over the rate is left out, and counted."""

    def __init__(self) -> None:
        self._bucket = Bucket(LINES_BURST, LINES_PER_S)
        self._rest = b""
        self._is_cut = False  # the line that has begun is too long: its end is awaited
        self.left_out = 0

    def take(self, data: bytes, now: float) -> list[bytes]:
        """Return the lines that have ended with this."""
        *lines, rest = (self._rest + data).split(b"\n")
        found: list[bytes] = []
        for line in lines:
            if not self._is_cut and line:
                self._add(found, line, now)
            self._is_cut = False
        if len(rest) > LINE_BYTES:
            if not self._is_cut:
                self._add(found, rest, now)
            rest, self._is_cut = b"", True
        elif self._is_cut:
            rest = b""
        self._rest = rest
        return found

    def skip(self) -> None:
        """Go on elsewhere in the file: what has begun is left out."""
        self.left_out += 1
        self._rest, self._is_cut = b"", True

    def end(self, now: float) -> list[bytes]:
        """Return what was a line without an end: another file begins."""
        found: list[bytes] = []
        if self._rest:
            self._add(found, self._rest, now)
        self._rest, self._is_cut = b"", False
        return found

    def take_left_out(self) -> int:
        """Return how many lines were left out since the last time."""
        count, self.left_out = self.left_out, 0
        return count

    def _add(self, found: list[bytes], line: bytes, now: float) -> None:
        if self._bucket.take(now):
            found.append(line[:LINE_BYTES])
        else:
            self.left_out += 1
