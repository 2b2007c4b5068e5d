"""What a host says on its console, read by those who wait for a line of it."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from pathlib import Path


class Console:
    """The lines of a process that writes its errors to a file."""

    def __init__(self, errors: Path) -> None:
        self.lines: list[str] = []
        self._rest = b""
        self._errors = errors

    def begin(self) -> None:
        """Forget what another process has said."""
        self.lines, self._rest = [], b""

    def wait_for(self, process: subprocess.Popen[bytes], pattern: str, *, after: int, timeout_s: float) -> str:
        """Wait for a line, number `after` or later, that matches; return it."""
        limit = time.monotonic() + timeout_s
        seen = after
        while True:
            for line in self.lines[seen:]:
                if re.search(pattern, line):
                    return line
            seen = max(after, len(self.lines))
            if not self.read_some(process, limit):
                raise AssertionError(f"the host ended before it said {pattern!r}:\n{self.transcript()}")

    def read_to_end(self, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        """Read to the end, so that the last lines are there and nobody waits for a full pipe."""
        limit = time.monotonic() + timeout_s
        while self.read_some(process, limit):
            continue

    def read_some(self, process: subprocess.Popen[bytes], limit: float) -> bool:
        """Read what is there, or comes until `limit`, a time of the monotonic clock; False at the end."""
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        if not select.select([descriptor], [], [], max(0.0, limit - time.monotonic()))[0]:
            raise AssertionError(f"the host did not say in time what was expected:\n{self.transcript()}")
        piece = os.read(descriptor, 65536)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self.lines += [line.decode() for line in lines]
        return bool(piece)

    def transcript(self) -> str:
        """Return all lines, and the errors."""
        return "\n".join(self.lines) + "\n" + self._errors.read_text()
