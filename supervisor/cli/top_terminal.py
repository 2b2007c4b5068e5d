"""The terminal of `top`: what it can show, and a driver that writes only what changed, as fast as the line takes it.

A thread writes one line of the screen after the other and waits until the terminal has it. While it waits the screen
goes on, and what was overtaken is never written: on a slow line no more is under way than one line.
"""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from threading import Condition, Thread
from typing import NamedTuple

from textual.drivers.linux_driver import LinuxDriver

from tlsrt.supervisor.cli.top_canvas import Canvas

_END_S = 2.0  # what a terminal may take for the last line


class Terminal(NamedTuple):
    """What a terminal shows. `is_old`: like a VT220, without colours, mouse and modes of later ones."""

    is_ascii: bool = False
    is_old: bool = False


MODERN = Terminal()


def terminal_of(environment: Mapping[str, str]) -> Terminal:
    """Return what the environment says of the terminal.

    Python makes C into C.UTF-8 for itself (PEP 538) and so changes LC_CTYPE, which then says nothing of the terminal.
    """
    is_old = environment.get("TERM", "").startswith("vt")
    locale = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or "C"
    if locale == "C.UTF-8" and not environment.get("LC_ALL"):
        locale = environment.get("LANG") or "C"
    is_utf8 = locale.partition("@")[0].lower().replace("-", "").endswith(".utf8")
    return Terminal(is_old or not is_utf8, is_old)


class Painter:
    """Writes a canvas to a terminal, in a thread."""

    def __init__(self, descriptor: int, canvas: Canvas) -> None:
        self._descriptor = descriptor
        self._canvas = canvas
        self._through = ""
        self._is_ended = False
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="top-terminal", daemon=True)
        self._thread.start()

    def write(self, data: str) -> None:
        """Show what is written so; waits for nothing."""
        with self._changed:
            self._through += self._canvas.feed(data)
            self._changed.notify()

    def resize(self, width: int, height: int) -> None:
        """Show all again, on a terminal of another size."""
        with self._changed:
            self._canvas.resize(width, height)
            self._changed.notify()

    def stop(self) -> None:
        """Write what is left, and end."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()
        self._thread.join(_END_S)

    def _run(self) -> None:
        with suppress(OSError, termios.error):  # the terminal is gone, and the screen ends by that
            while written := self._next():
                left = written.encode("utf-8", "replace")
                while left:
                    left = left[os.write(self._descriptor, left) :]
                termios.tcdrain(self._descriptor)

    def _next(self) -> str:
        """Wait for what is to be written next; empty at the end."""
        with self._changed:
            while True:
                if through := self._through:
                    self._through = ""
                    return through
                if changes := self._canvas.changes():
                    return changes
                if self._is_ended:
                    return ""
                self._changed.wait()


class QuietDriver(LinuxDriver):
    """Textual's driver, writing by a painter. The application has a `terminal`."""

    _painter: Painter | None = None

    @property
    def is_gone(self) -> bool:
        """Tell whether the terminal was hung up: who is not its session hears no SIGHUP, and reads its end for ever."""
        return not os.isatty(self.fileno)

    def start_application_mode(self) -> None:
        """Begin, or begin again after Ctrl-Z."""
        terminal: Terminal = getattr(self._app, "terminal", MODERN)
        canvas = Canvas(is_ascii=terminal.is_ascii, is_old=terminal.is_old)
        self._painter = Painter(sys.stderr.fileno(), canvas)  # where Textual writes, too
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def write(self, data: str) -> None:
        """Show what is written so."""
        if self._painter is not None:
            self._painter.write(data)

    def resized(self, width: int, height: int) -> None:
        """Show all again, on a terminal of another size."""
        if self._painter is not None:
            self._painter.resize(width, height)

    def close(self) -> None:
        """End the threads."""
        super().close()
        if self._painter is not None:
            self._painter.stop()
            self._painter = None
