"""The due times of a component's timers on the disk: one small file in its state folder, replaced as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tlsrt.loops.component.timetable import Due

NAME = ".timers.json"
SIZE_MAX = 256 * 1024
_VERSION = 1
DAMAGE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


class DueTimesError(Exception):
    """The file cannot be read; the sentence says why."""


def read_due_times(folder: Path) -> dict[str, Due]:
    """Return the due times by name of the timer, none if there is no file. Raises DueTimesError."""
    path = folder / NAME
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DueTimesError(f"cannot read {NAME}: {error.strerror or error}") from error
    try:
        return parse_due_times(data)
    except DAMAGE as error:
        raise DueTimesError(f"cannot read {NAME}: it is damaged or cut off ({type(error).__name__})") from None


def parse_due_times(data: bytes) -> dict[str, Due]:
    """Return what a file says. Raises an error of DAMAGE."""
    if len(data) > SIZE_MAX:
        raise ValueError("too large")
    document = json.loads(data)
    if document["version"] != _VERSION:
        raise ValueError("another version")
    found: dict[str, Due] = {}
    for name, entry in document["timers"].items():
        at, seen = float(entry["at"]), float(entry["seen"])
        if not (0 <= at < 1e11 and 0 <= seen < 1e11):  # also not a number
            raise ValueError("no time")
        found[name] = Due(str(entry["spec"]), at, seen)
    return found


def write_due_times(folder: Path, dues: Mapping[str, Due]) -> None:
    """Put the due times on the disk: all of them or, whatever happens meanwhile, those from before. Raises OSError."""
    timers = {name: {"spec": due.spec, "at": due.at, "seen": due.seen} for name, due in dues.items()}
    data = json.dumps({"version": _VERSION, "timers": timers}, indent=1).encode()
    new = folder / f"{NAME}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(new, folder / NAME)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # the rename itself (fsync(2))
    finally:
        os.close(directory)
