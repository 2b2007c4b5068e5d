"""Writer: puts batches of records on the disk, whole or not at all, in a thread of its own.

A batch is sealed, written and synced. When that fails, the file is cut back to what was good, and sealed state and keys
are what they were: it is as if the batch had never been.

Why a thread, and no process: what it writes must be sealed where the keys are, and a process more would be one more
to spawn, confine, attest and reap, with a channel that can be full as the disk can. It is started after the seal, so
it has filters and Landlock rules by birth; processes stay forbidden. A disk that does not answer holds it alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Protocol

from tlsrt.config.files import write_all
from tlsrt.sandbox.syscalls import name_thread
from tlsrt.supervisor.audit.files import AuditFolder
from tlsrt.supervisor.audit.record import OPEN, ROTATED, LogRecord
from tlsrt.supervisor.audit.retention import Retention, RetentionPlan
from tlsrt.supervisor.audit.signer import LogSigner, next_file
from tlsrt.supervisor.process.secret_memory import wipe

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
    is_signed: bool = False  # with a checkpoint, also if none is due


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
        """Remove old files, or prepare that for the next write: this reads, so it is slow."""
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
        if work.end or work.root_key or work.is_signed or is_due or told:
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


class LogThread(Protocol):
    """What writes to the disk, one piece of work at a time."""

    def give(self, work: Work) -> None:
        """Write this; never while there is other work."""

    def take(self) -> Done | None:
        """Return how it went, None while it goes on or if there is no work."""


class WriterThread:
    """A LogThread. `fileno()` is readable when there is something to take."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._done: SimpleQueue[Done] = SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._wake

    def give(self, work: Work) -> None:
        """Write this."""
        self._work.put(work)

    def take(self) -> Done | None:
        """Return how it went, if it is over."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return None
        return self._done.get_nowait()

    def finish(self, timeout_s: float) -> bool:
        """End the thread when it has written what it was given; tell whether it did so in time."""
        self._work.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        name_thread(b"audit")
        while (work := self._work.get()) is not None:
            try:
                done = self._writer.write(work)
            except Exception as error:  # a bug of ours: what asked for this must still be answered
                done = Done(f"the audit log cannot be written ({type(error).__name__}: {error})")
            self._done.put(done)
            os.eventfd_write(self._wake, 1)
            self._writer.tidy()
        self._writer.close()
