"""`door.watch`: check the door's files every second, and reload a settled change.

They are checked by stat(2) through all links, not by inotify(7): what counts is what a reload would open, and that
is so whether an operator renames a file over another, swaps a link (Kubernetes' ..data, certbot's live/), replaces a
folder, or writes in place. A change counts when two looks in a row found the same, so that a pair is seldom caught
half-written. If it is caught, the old pair serves on, the reason is said once, and the rest of the pair is a change of
its own. What was refused for other reasons (a rotation was running) is tried again, ever more seldom and in silence.

A file system that does not answer would hold up the supervisor: watched files belong on a local disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from tlsrt.config.door import DoorConfig
from tlsrt.supervisor.process.event_loop import EventLoop, Timer
from tlsrt.supervisor.supervision.feature import Feature

LOOK_S = 1.0
AGAIN_FIRST_S, AGAIN_CAP_S = 60.0, 3600.0
Sign = tuple[tuple[int, ...] | None, ...]  # of each file; None: it cannot be read
Ask = Callable[[Callable[[Mapping[str, Any]], None], Sequence[str]], None]


class FileChange(Enum):
    """What is to be done after a look."""

    NOTHING = "nothing"
    CHANGE = "change"
    AGAIN = "again"  # what was refused is tried once more


class SettlingFiles:
    """When to act on files that change. Pure: what was found, and the time in seconds, come in."""

    def __init__(self, found: Sign) -> None:
        self._acted = found  # the last state that a reload was asked for, or that is in force
        self._last = found
        self._pause_s = 0.0
        self._again_at: float | None = None

    def look(self, found: Sign, now: float) -> FileChange:
        """Take what was found; tell whether to reload now."""
        is_calm = found == self._last
        self._last = found
        if not is_calm:
            return FileChange.NOTHING
        if found != self._acted:
            self._acted = found
            self._pause_s, self._again_at = 0.0, None
            return FileChange.CHANGE
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None
            return FileChange.AGAIN
        return FileChange.NOTHING

    def taken(self) -> None:
        """The last reload was a success."""
        self._pause_s, self._again_at = 0.0, None

    def refused(self, now: float) -> None:
        """The last reload was refused: try again in a while, each time twice as long."""
        self._pause_s = min(AGAIN_CAP_S, self._pause_s * 2 or AGAIN_FIRST_S)
        self._again_at = now + self._pause_s


class FileWatcher(Feature):
    """Looks at the door's files and asks for reloads. `ask` reloads the door alone; see `Reload.ask_door`."""

    look_s = LOOK_S

    def __init__(self, event_loop: EventLoop, door: Callable[[], DoorConfig], ask: Ask) -> None:
        self._event_loop = event_loop
        self._door = door
        self._ask = ask
        self._settling = SettlingFiles(sign_of(door()))
        self._said: tuple[str, ...] = ()
        self._is_asked = False
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Look from now on; what was there when this was made is in force."""
        self._wait()

    def stopping(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = self._event_loop.call_next(self.look_s, self._look)  # when it is awake anyway

    def _look(self) -> None:
        self._wait()
        if self._is_asked:
            return
        due = self._settling.look(sign_of(self._door()), self._event_loop.now)
        if due is not FileChange.NOTHING:
            self._is_asked = True
            self._ask(self._answered, self._said if due is FileChange.AGAIN else ())

    def _answered(self, answer: Mapping[str, Any]) -> None:
        self._is_asked = False
        self._said = tuple(answer.get("refused", ()))
        if self._said:
            self._settling.refused(self._event_loop.now)
        else:
            self._settling.taken()


def sign_of(door: DoorConfig) -> Sign:
    """Return what tells one state of the door's files from another, stat(2)."""
    paths = (door.certificate, door.key, door.client_ca, door.crl)
    return tuple(_sign(path) for path in paths if path is not None)


def _sign(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
