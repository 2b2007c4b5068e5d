"""Writes the authority's state without being held by its disk: a thread writes, and who asks waits for 250 ms at most.

Theory of operation. `save` hands the bytes to the thread and waits. When that takes too long, the write is given up:
the thread, should it come back, does not put the new file in the place of the old one, unless it was about to do just
that. Until it is back every other `save` fails at once. When it is, `tick` writes what is true by then: what was to be
remembered all the same, such as a revocation, and not what was taken back. So a disk that hangs costs the authority's
loop a quarter of a second, and then nothing.

A thread of its own, not that of the audit log: one may hang while the other writes. It is started after the seal.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from tlsrt.sandbox.syscalls import name_thread
from tlsrt.supervisor.authority.model.state import AuthorityState, StateFile, encode_state

WAIT_S = 0.25
STALLED = f"its disk did not answer within {WAIT_S * 1000:.0f} ms"


class _Job:
    """One write. Its flags change under the lock."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.over = threading.Event()
        self.is_given_up = False
        self.error: OSError | None = None


class StateWriterThread:
    """A Store, and a Part. `fileno()` is readable when a write that was given up is over."""

    def __init__(self, file: StateFile, wait_s: float = WAIT_S) -> None:
        self._file = file
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._late: _Job | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.write_again: Callable[[int], object] = lambda now: None  # what is true now
        threading.Thread(target=self._run, name="state", daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._wake

    def save(self, state: AuthorityState) -> None:
        """Replace the file, safely on the disk. Raises OSError, at the latest after 250 ms."""
        if self._late is not None:
            raise OSError(errno.ETIMEDOUT, STALLED)
        job = _Job(encode_state(state))
        self._jobs.put(job)
        if not job.over.wait(self._wait_s):
            with self._lock:
                if not job.over.is_set():
                    job.is_given_up, self._late = True, job
                    raise OSError(errno.ETIMEDOUT, STALLED)
        if job.error is not None:
            raise job.error

    def next_due(self) -> int | None:
        """The descriptor says when."""
        return None

    def tick(self, now: int, wall: int) -> None:
        """Write once more when a write that was given up is over."""
        if self._late is not None and self._late.over.is_set():
            self._late = None
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            self.write_again(now)

    def _run(self) -> None:
        name_thread(b"state")
        while True:
            job = self._jobs.get()
            try:
                self._file.replace(job.data, lambda job=job: self._is_wanted(job))  # type: ignore[misc]
            except OSError as error:
                job.error = error
            except Exception as error:  # a bug of ours: who asked for this must still be answered
                job.error = OSError(errno.EIO, f"{type(error).__name__}: {error}")
            with self._lock:
                job.over.set()
                if job.is_given_up:
                    os.eventfd_write(self._wake, 1)

    def _is_wanted(self, job: _Job) -> bool:
        with self._lock:
            return not job.is_given_up
