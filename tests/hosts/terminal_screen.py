"""A command at a pseudo-terminal, and what stands on its screen."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tlsrt.supervisor.cli.top_canvas import Canvas

_WAIT_S = 60.0


class TerminalScreen:
    """Runs a command at a terminal of its own. What it writes is kept in `written`, and read as cells."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], columns: int = 80, lines: int = 24
    ) -> None:
        self._ours, self._theirs = pty.openpty()
        self._is_open = True
        self._set_size(columns, lines)
        self.modes = termios.tcgetattr(self._theirs)
        self.written = b""
        self._canvas = Canvas()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.process = subprocess.Popen(
            command, stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip

    @property
    def text(self) -> str:
        """The lines of the screen."""
        cells = self._canvas._wanted
        return "\n".join("".join(cell.text for cell in cells.get(row, ())) for row in range(max(cells, default=0) + 1))

    def press(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self._ours, keys)

    def wait_for(self, *words: str) -> None:
        """Wait until the screen has these words."""
        self.wait_until(lambda: all(word in self.text for word in words))

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for what the screen shows."""
        end = time.monotonic() + _WAIT_S
        while not is_so():
            assert time.monotonic() < end, self.text
            self._read()

    def end(self) -> int:
        """Wait until the command has ended; return its exit code."""
        self.wait_until(lambda: self.process.poll() is not None)
        assert termios.tcgetattr(self._theirs) == self.modes, "the terminal is as it was"
        return int(self.process.wait())

    def hang_up(self) -> None:
        """Take the terminal away, without SIGHUP: it is no controlling terminal."""
        os.close(self._theirs)
        os.close(self._ours)
        self._is_open = False

    def close(self) -> None:
        """End what is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._is_open:
            self.hang_up()

    def _read(self) -> None:
        if select.select([self._ours], [], [], 0.1)[0]:
            piece = os.read(self._ours, 65536)
            self.written += piece
            self._canvas.feed(self._decoder.decode(piece))

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
