"""Mark of a database: a second small file that says that the database existed, and which revision it had.

A database that is missing, empty or older than it was opens like any other. So beside it lies one line with the last
revision that was acknowledged. It is written in place after each commit, and never before: what it says was on the
disk. It is synced when it is made, at the end, and now and then when the answers have left: `SYNC_S` after the last
time, and on a slow disk so seldom that it costs a twentieth of the time. So a loss is noticed whenever the process
alone ended; after a loss of power, for all but the changes of the last `SYNC_S` of activity, or of twenty syncs.

`lost` are revisions that were acknowledged and are gone. They stay in the mark until an operator removes it: that
accepts the database as it is.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SYNC_S = 5.0
SELDOM = 20  # times what the last sync took
_BYTES = 128  # in one sector, so that none is ever half written
_LINE = re.compile(rb"(tlsrt store mark 1, revision (\d{1,20}), lost (\d{1,20}) to (\d{1,20})), crc ([0-9a-f]{8}) *\n")


class MarkRecord(NamedTuple):
    """What a mark says. `lost` is empty (0, 0), or the first and the last revision that are gone."""

    revision: int
    lost: tuple[int, int] = (0, 0)

    def line(self) -> bytes:
        """Return the bytes of the file."""
        text = b"tlsrt store mark 1, revision %d, lost %d to %d" % (self.revision, *self.lost)
        return (b"%b, crc %08x" % (text, zlib.crc32(text))).ljust(_BYTES - 1) + b"\n"


def parse_mark_untrusted(line: bytes) -> MarkRecord | None:
    """Return what a mark says, or None for one that is damaged. Cannot fail. Pure."""
    found = _LINE.fullmatch(line)
    if found is None or int(found[5], 16) != zlib.crc32(found[1]):
        return None
    return MarkRecord(int(found[2]), (int(found[3]), int(found[4])))


class SqliteMark:
    """The file. Times are monotonic, in seconds. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.exists = path.exists()
        self.record = parse_mark_untrusted(path.read_bytes()[: 2 * _BYTES]) if self.exists else None
        self._descriptor = -1
        self._synced = 0.0
        self._took_s = 0.0
        self._is_behind = False  # the disk may not have what was written
        self._is_refused = False  # the last write or sync failed

    def write(self, record: MarkRecord, now: float) -> None:
        """Say another revision; on the disk at once if there was no mark. What failed is tried again by `sync`."""
        self.record = record
        self._is_behind = True
        self._put(record)
        if not self.exists:
            self.sync(now)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self.exists = True

    def _put(self, record: MarkRecord) -> None:
        self._is_refused = True
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            os.ftruncate(self._descriptor, _BYTES)
        os.pwrite(self._descriptor, record.line(), 0)  # in place: it takes no room, so none can be wanting
        self._is_refused = False

    def is_due(self, now: float) -> bool:
        """Tell whether it is time to have the disk keep it."""
        return self._is_behind and now - self._synced >= max(SYNC_S, SELDOM * self._took_s)

    def sync_timed(self, clock: Callable[[], float]) -> None:
        """Have the disk keep it, and remember how long that takes."""
        began = clock()
        self.sync(began)
        self._synced = clock()
        self._took_s = self._synced - began

    def sync(self, now: float) -> None:
        """Have the disk keep it."""
        if not self._is_behind or self.record is None:
            return
        if self._is_refused:  # the kernel forgets what it could not write: another sync alone would succeed
            self._put(self.record)
        self._is_refused = True
        os.fdatasync(self._descriptor)
        self._is_behind = self._is_refused = False
        self._synced = now

    def close(self, now: float) -> None:
        """Have the disk keep it, and give the file back."""
        if self._descriptor >= 0:
            try:
                self.sync(now)
            finally:
                os.close(self._descriptor)
                self._descriptor = -1
