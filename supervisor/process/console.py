"""What the operator sees of a start and a stop: one line each, coloured only for people."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping
from typing import Protocol, TextIO

from tlsrt.text import sentence

_GREEN, _YELLOW, _RED, _END = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
_NAME_WIDTH = 13  # primary.facts
_WORD_WIDTH = 7
_LINE_BYTES = 1024  # a pipe that polls writable takes PIPE_BUF (4096 bytes) without blocking, pipe(7)


class Console(Protocol):
    """What the supervisor says to an operator as it happens."""

    def good(self, name: str, word: str, text: str = "") -> None: ...
    def plain(self, name: str, word: str, text: str = "") -> None: ...
    def warning(self, name: str, text: str) -> None: ...
    def bad(self, name: str, word: str, text: str = "") -> None: ...


class TerminalConsole:
    """Prints lines; a closed terminal or pipe does not stop the supervisor."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str] | None = None) -> None:
        self._stream = stream
        names = os.environ if environment is None else environment
        self._colour = stream.isatty() and not names.get("NO_COLOR") and names.get("TERM") != "dumb"

    def good(self, name: str, word: str, text: str = "") -> None:
        self._line(name, word, text, _GREEN)

    def plain(self, name: str, word: str, text: str = "") -> None:
        self._line(name, word, text, "")

    def warning(self, name: str, text: str) -> None:
        self._line(name, "warning", text, _YELLOW)

    def bad(self, name: str, word: str, text: str = "") -> None:
        self._line(name, word, text, _RED)

    def _line(self, name: str, word: str, text: str, colour: str) -> None:
        padded = word.ljust(_WORD_WIDTH)
        if self._colour and colour:
            padded = f"{colour}{padded}{_END}"
        line = f"{name.ljust(_NAME_WIDTH)} {padded} {sentence(text)}".rstrip()
        self._write(line[:_LINE_BYTES] + "\n")

    def _write(self, line: str) -> None:
        """Write past the stream's buffer: what a closed reader did not take must not come back at exit."""
        try:
            descriptor = self._stream.fileno()
        except OSError:  # not a file (io.UnsupportedOperation)
            self._stream.write(line)
            return
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if poll.poll(0):  # a stopped terminal or an unread pipe must not stop the supervisor: it loses lines instead
            try:
                os.write(descriptor, line.encode("utf-8", "backslashreplace"))
            except OSError:
                return


def standard_console() -> TerminalConsole:
    """Return the console of a start: standard output."""
    return TerminalConsole(sys.stdout)
