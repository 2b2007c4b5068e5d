"""`tlsrt-supervisor logs`: the log files of a host as one stream, ordered by time; with --follow over rotation."""

from __future__ import annotations

import argparse
import heapq
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tlsrt.channels.client.event_line import is_coloured
from tlsrt.channels.control.log_entries import LogEntry, LogReader, merged
from tlsrt.errors import EX_NOPERM, EX_USAGE, TlsrtError
from tlsrt.supervisor.cli.exchange import config_of, say
from tlsrt.supervisor.cli.log_subject import Subject, subject_of
from tlsrt.text import did_you_mean

READ_MAX = 64 << 20  # bytes of one process's log, from its end
_BLOCK = 256 * 1024
_LOOK_S = 0.2  # between two looks, with --follow
_ENDING = ".log"
_SHOWN = 50  # entries, if neither a number nor a time is asked for
_PLAIN = "\x1b[0m"
_COLOURS = {" WARNING ": "\x1b[33m", " ERROR ": "\x1b[31m", " CRITICAL ": "\x1b[31m"}


class CannotRead(TlsrtError):
    """The logs are not for this user."""

    exit_code = EX_NOPERM


class NoSuchLog(TlsrtError):
    """There is no process, component or program of that name."""

    exit_code = EX_USAGE


def logs(arguments: argparse.Namespace) -> int:
    """Print entries, and with --follow new ones until Ctrl-C."""
    config = config_of(arguments)
    folder = config.log_dir
    components = {one.address: one.process for one in config.components}
    named = [*(loop.name for loop in config.loops), *_names_in(folder)]
    subject = subject_of(arguments.subject or "", tuple(dict.fromkeys(named)), components)
    if subject is None:
        hint = did_you_mean(arguments.subject, [*named, *components])
        raise NoSuchLog(f"there is no log of {arguments.subject!r}{hint}")
    show = _printer(subject, is_json=arguments.json)
    tails = {name: Tail(folder, name) for name in subject.processes}
    since = arguments.since or 0.0
    count = arguments.count if arguments.count is not None else None if since else _SHOWN
    logs = [tail.entries(count, since, subject) for tail in tails.values()]
    found = [entry for entry in merged(logs) if entry.at >= since and subject.wants(entry)]
    for entry in found if count is None else found[len(found) - min(count, len(found)) :]:
        show(entry)
    if arguments.follow:
        _follow(folder, tails, subject, show, is_all=not arguments.subject)
    return 0


def _follow(
    folder: Path, tails: dict[str, Tail], subject: Subject, show: Callable[[LogEntry], None], *, is_all: bool
) -> None:
    """Print what comes; a process that is added has its log from the beginning."""
    while True:
        sys.stdout.flush()
        time.sleep(_LOOK_S)
        if is_all:
            tails.update({name: Tail(folder, name) for name in _names_in(folder) if name not in tails})
        for entry in heapq.merge(*[tail.news() for tail in tails.values()], key=lambda entry: entry.at):
            if subject.wants(entry):
                show(entry)


class Tail:
    """The log of one process: NAME.log.1, if it was moved away, and NAME.log."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}{_ENDING}"
        self._name = name
        self._descriptor = -1
        self._offset = 0
        self._reader = LogReader(name)

    def entries(self, count: int | None, since: float, subject: Subject) -> list[LogEntry]:
        """Return what was wanted since then, and the last `count` of it at least; what is written later is news."""
        now = time.time()
        self._descriptor = _opened(self._path)
        self._offset = _size(self._descriptor)
        earlier = _opened(self._path.with_name(f"{self._path.name}.1"))
        files = ((earlier, _size(earlier)), (self._descriptor, self._offset))
        room = _BLOCK
        while True:
            data, is_whole = _end_of(files, room)
            reader = LogReader(self._name)
            found = reader.feed(data, now) + reader.end()
            is_enough = count is not None and sum(map(subject.wants, found)) >= count
            if is_whole or is_enough or (found and found[0].at < since):
                break
            if room >= READ_MAX:
                say(f"the log of {self._name} is longer than {READ_MAX >> 20} MiB: what was before is in {self._path}")
                break
            room *= 4
        if earlier >= 0:
            os.close(earlier)
        self._reader = LogReader(self._name, found[-1].at if found else now)
        return found

    def news(self) -> list[LogEntry]:
        """Return what has been written since the last look, also into a file that has taken the place of this one."""
        found = self._read()
        if self._is_replaced():
            found += self._read() + self._reader.end()  # what it was given after the first read
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor, self._offset = _opened(self._path), 0
            found += self._read()
        return found + self._reader.end()

    def _read(self) -> list[LogEntry]:
        found, now = list[LogEntry](), time.time()
        if self._descriptor < 0:
            return found
        if _size(self._descriptor) < self._offset:
            self._offset = 0  # it was cut
        while piece := os.pread(self._descriptor, _BLOCK, self._offset):
            self._offset += len(piece)
            found += self._reader.feed(piece, now)
        return found

    def _is_replaced(self) -> bool:
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return False
        return self._descriptor < 0 or not os.path.samestat(there, os.fstat(self._descriptor))


def _end_of(files: Sequence[tuple[int, int]], room: int) -> tuple[bytes, bool]:
    """Return the last whole lines of files that follow each other, (descriptor, size), and whether that is all."""
    total = sum(size for _, size in files)
    skip = max(0, total - room)
    pieces, at = list[bytes](), 0
    for descriptor, size in files:
        begin = min(size, max(0, skip - at))
        if size > begin:
            pieces.append(_read_range(descriptor, begin, size))
        at += size
    data = b"".join(pieces)
    return (data, True) if not skip else (data.partition(b"\n")[2], False)


def _read_range(descriptor: int, begin: int, end: int) -> bytes:
    """Return the bytes of a file from one offset to another, fewer where it ends before."""
    data = bytearray()
    while begin + len(data) < end and (piece := os.pread(descriptor, end - begin - len(data), begin + len(data))):
        data += piece
    return bytes(data)


def _opened(path: Path) -> int:
    """Return a descriptor of a log; -1 if there is none. Raises CannotRead."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise CannotRead(f"cannot read {path}: {error.strerror}; run this as root or as the user of the host") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return -1
    return descriptor


def _size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size if descriptor >= 0 else 0


def _names_in(folder: Path) -> list[str]:
    """Return the processes that have a log: those of components that were removed, too."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CannotRead(
            f"cannot read {folder}: {error.strerror}; run this as root or as the user of the host"
        ) from None
    return [name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING)]


def _printer(subject: Subject, *, is_json: bool) -> Callable[[LogEntry], None]:
    """Return what prints an entry: with the name of its process in front, where there are several."""
    width = max(map(len, subject.processes), default=0) if len(subject.processes) > 1 else 0
    has_colours = is_coloured(sys.stdout.isatty(), os.environ)

    def show(entry: LogEntry) -> None:
        if is_json:
            at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")
            print(json.dumps({"at": at, "process": entry.process, "lines": entry.lines}))
            return
        colours = [code for word, code in _COLOURS.items() if has_colours and word in entry.lines[0][:40]]
        before = f"{entry.process:<{width}} | " if width else ""
        for line in entry.lines:
            print(f"{before}{colours[0]}{line}{_PLAIN}" if colours else f"{before}{line}")

    return show
