"""The files of the logs and of the audit log, opened to be read by a component that is granted that.

The supervisor reads no byte of them: who is granted it gets descriptors that cannot write. A process writes to its log
by a descriptor and cannot make files beside it; the folder of the audit log is the authority's, so what lies there may
be anything: a link, a file that has another name elsewhere, or one of another owner is passed over.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tlsrt.config.setting import PROCESS
from tlsrt.supervisor.audit.files import FOLDER, number_of

_LOG = re.compile(rf"({PROCESS}|[a-z_]{{1,32}})\.log(\.1)?")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTED_MOST = 4096  # names of one folder that are looked at


class RecordFile(NamedTuple):
    """One file that is open; the descriptor is its taker's."""

    name: str
    is_earlier: bool
    descriptor: int


class RecordFolder:
    """One folder of such files. What it raises is OSError."""

    def __init__(self, path: Path, *, is_audit: bool) -> None:
        self._path = path / FOLDER if is_audit else path
        self._is_audit = is_audit

    def open(self, first: int, most: int) -> tuple[list[RecordFile], bool]:
        """Open some of its files, from one on, and tell whether there are more. The newest of the audit log is first.

        Waits for the disk of the folder only where its names are not in memory.
        """
        folder = os.open(self._path, _LIST if self._is_audit else _LIST & ~os.O_NOFOLLOW)
        try:
            owner = os.fstat(folder).st_uid
            rows = self._rows(folder)
            files = [self._opened(folder, owner, *row) for row in rows[first : first + most]]
            return [one for one in files if one is not None], len(rows) > first + most
        finally:
            os.close(folder)

    def _rows(self, folder: int) -> list[tuple[str, str, bool]]:
        """Return file, what it is called, and whether it is an earlier part, in their order."""
        return (self._audit_rows if self._is_audit else self._log_rows)(_names(folder))

    def _audit_rows(self, names: list[str]) -> list[tuple[str, str, bool]]:
        numbered = sorted(((number_of(name), name) for name in names if number_of(name)), reverse=True)
        return [(name, str(number), False) for number, name in numbered]

    def _log_rows(self, names: list[str]) -> list[tuple[str, str, bool]]:
        found = ((name, _LOG.fullmatch(name)) for name in sorted(names))
        return [(name, match[1], match[2] is not None) for name, match in found if match is not None]

    def _opened(self, folder: int, owner: int, file: str, name: str, is_earlier: bool) -> RecordFile | None:
        with suppress(OSError):  # it was moved or removed meanwhile, or is a link
            descriptor = os.open(file, _READ, dir_fd=folder)
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == owner:
                return RecordFile(name, is_earlier, descriptor)
            os.close(descriptor)
        return None


def _names(folder: int) -> list[str]:
    def some() -> Iterator[str]:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= _LISTED_MOST:
                    return
                yield entry.name

    return list(some())
