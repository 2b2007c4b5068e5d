"""Puts records on the disk: many at once, whole or not at all. It waits for the disk, so nobody else should.

A batch is sealed, written and synced. When that fails, the file is cut back to what was good, and sealed state and keys
are what they were: it is as if the batch had never been.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tlsrt.config.files import write_all
from tlsrt.supervisor.audit.files import AuditFolder
from tlsrt.supervisor.audit.record import OPEN, ROTATED, LogRecord
from tlsrt.supervisor.audit.retention import Retention, RetentionPlan
from tlsrt.supervisor.audit.signer import LogSigner, next_file
from tlsrt.supervisor.authority.keys.secret_memory import wipe

FILE_MAX = 4 << 20  # bytes; the last file is read at each start, in 0.15 s at most
CHECKPOINT_MS = 5_000


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint that is on the disk, for others to keep."""

    file: int
    size: int  # entries that it signs
    root: bytes
    sequence: int  # of the checkpoint


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be written at once. Times are ms."""

    records: Sequence[LogRecord]
    boottime: int
    wall: int
    end: str = OPEN  # or how the log ends
    root_key: bytes = b""  # of the next life, if it changes now


@dataclass(frozen=True, slots=True)
class Done:
    """How it went: nothing of it is on the disk if there is a problem."""

    problem: str = ""
    head: Head | None = None  # a checkpoint, if there is a new one
    notice: str = ""  # for the operator, about old files
    file: int = 0  # the present one
    sequence: int = 0  # of the last entry that is on the disk
    bytes: int = 0  # that all files take


class LogWriter:
    """The end of the log. Used by one thread at a time."""

    def __init__(
        self, folder: AuditFolder, sealer: LogSigner, header: bytes, retention: Retention | None = None, *,
        file_max: int = FILE_MAX,
    ) -> None:  # fmt: skip
        """Begin a file. Raises OSError."""
        self._folder = folder
        self._sealer = sealer
        self._file_max = file_max
        self._descriptor = folder.create(sealer.file, header)
        self._is_torn = False  # something may stand behind the last good entry
        self._signed_at = 0
        self._retention = retention
        self._may_be_full = True  # there is one file more than when that was last looked at
        self._plan: RetentionPlan | None = None
        self._is_announced = False  # the plan
        self._notice = ""

    def write(self, work: Work) -> Done:
        """Write; a problem is a sentence."""
        try:
            done = self._write(work)
        except OSError as error:
            done = Done(f"the audit log cannot be written ({error.strerror}): make room on its disk, or mend it")
        older = self._retention.older if self._retention is not None else 0
        return replace(
            done, file=self._sealer.file, sequence=self._sealer.sequence, bytes=older + self._sealer.length
        )  # fmt: skip

    def tidy(self) -> None:
        """Remove old files, or prepare that for the next write: this reads, so nobody should wait for it."""
        if self._retention is None:
            return
        try:
            if self._plan is not None and self._is_announced:
                plan, self._plan, self._is_announced = self._plan, None, False
                self._retention.carry_out(plan)
            if self._plan is None and self._may_be_full:
                self._plan = self._retention.plan()
                self._may_be_full = self._plan is not None
        except OSError as error:
            self._notice = f"old files of the audit log cannot be removed ({error.strerror}): make room on its disk"

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, work: Work) -> Done:
        if self._sealer.length > self._file_max or self._descriptor < 0:
            self._rotate(work.boottime, work.wall)
        sealer = self._sealer.copy()
        signed = sealer.signing
        plan = self._plan if not work.end else None
        told = plan.records(work.boottime, work.wall) if plan is not None and not self._is_announced else []
        data = b"".join(map(sealer.record, (*told, *work.records)))
        is_due = work.boottime - self._signed_at >= CHECKPOINT_MS and sealer.signing is signed
        sealer.root_key = work.root_key or sealer.root_key
        if work.end or work.root_key or is_due or told:
            data += sealer.checkpoint(work.boottime, work.wall, work.end)
        self._put(sealer, data)
        notice, self._notice = self._notice, ""
        if plan is not None:
            self._is_announced = True
            notice = plan.problem or notice
        if sealer.signing is signed:
            return Done(notice=notice)
        self._signed_at = work.boottime
        return Done(head=self._head(), notice=notice)

    def _head(self) -> Head:
        head = self._sealer.head
        assert head is not None
        return Head(*head)

    def _rotate(self, boottime: int, wall: int) -> None:
        """End this file, if that was not done yet, and begin the next one."""
        if not self._sealer.end:
            sealer = self._sealer.copy()
            self._put(sealer, sealer.checkpoint(boottime, wall, ROTATED))
            self.close()
        sealer, header = next_file(self._sealer, boottime, wall)
        self._descriptor = self._folder.create(sealer.file, header)
        wipe(self._sealer.file_key)
        if self._retention is not None:
            self._retention.older += self._sealer.length
        self._sealer = sealer
        self._may_be_full = True

    def _put(self, sealer: LogSigner, data: bytes) -> None:
        try:
            if self._is_torn:
                os.ftruncate(self._descriptor, self._sealer.length)
                self._is_torn = False
            write_all(self._descriptor, data)
            os.fdatasync(self._descriptor)
        except OSError:
            for key in (*sealer.spent[1:], sealer.mac_key) if sealer.spent else ():
                wipe(key)
            self._is_torn = True
            os.ftruncate(self._descriptor, self._sealer.length)
            self._is_torn = False
            raise
        for key in sealer.spent:
            wipe(key)
        self._sealer = sealer
