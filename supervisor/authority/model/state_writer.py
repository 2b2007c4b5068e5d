"""Writes the authority's state to the disk, and tells the supervisor whether it is there.

Theory of operation. `StateWriterThread.save` hands the bytes to its thread and waits, for 250 ms at most. When that
takes longer, the write is given up: the thread, should it come back, does not put the new file in the place of the old
one, unless it was about to do just that. Until it is back every other `save` fails at once. When it is, `StateWriter`
writes what is true by then: what was to be remembered all the same, such as a revocation, and not what was taken back.
So a disk that hangs costs the authority's loop a quarter of a second, and then nothing.

A thread of its own, not that of the audit log: one may hang while the other writes. It is started after the seal.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol

from tlsrt.channels.clock import Moment
from tlsrt.errors import ConfigError
from tlsrt.sandbox.syscalls import name_thread
from tlsrt.supervisor.authority.model.ports import Outgoing, Service
from tlsrt.supervisor.authority.model.state import AuthorityState, StateFile, StateStore, encode_state, write_state

WAIT_S = 0.25
RETRY_MS = 1_000  # after a state that could not be written
STALLED = f"its disk did not answer within {WAIT_S * 1000:.0f} ms"


class RecoveringStore(StateStore, Protocol):
    """A store whose writes may be given up, and be over later."""

    def has_recovered(self) -> bool:
        """Tell, once, that a write that was given up is over."""
        ...


class StateWriter(Service):
    """Writes the state, retries, and tells the supervisor of a problem and of its end."""

    def __init__(self, store: RecoveringStore, state: AuthorityState, outgoing: Outgoing) -> None:
        self._store = store
        self._state = state
        self._outgoing = outgoing
        self._problem = ""
        self._retry_at: int | None = None

    def write(self) -> bool:
        """Write the state; return whether it is persisted. If not, the caller tries again or undoes its change."""
        problem = ""
        try:
            write_state(self._store, self._state)
        except ConfigError as error:
            problem = str(error)
        if problem != self._problem:
            self._problem = problem
            self._outgoing.log(problem or "the state is persisted again")
            self._outgoing.tell("storage", problem)
        return not problem

    def keep(self, now: int) -> bool:
        """Write the state, and when that fails, again until it is persisted. Return whether it is now."""
        is_written = self.write()
        self._retry_at = None if is_written else now + RETRY_MS
        return is_written

    def next_due(self) -> int | None:
        return self._retry_at

    def tick(self, moment: Moment) -> None:
        is_due = self._retry_at is not None and self._retry_at <= moment.now
        if self._store.has_recovered() or is_due:
            self.keep(moment.now)


class _Job:
    """One write. Its flags change under the lock."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.over = threading.Event()
        self.is_given_up = False
        self.error: OSError | None = None


class StateWriterThread:
    """A store with a thread. `fileno()` is readable when a write that was given up is over."""

    def __init__(self, file: StateFile, wait_s: float = WAIT_S) -> None:
        self._file = file
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._late: _Job | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
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

    def has_recovered(self) -> bool:
        """Tell, once, that a write that was given up is over."""
        if self._late is None or not self._late.over.is_set():
            return False
        self._late = None
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        return True

    def _run(self) -> None:
        name_thread(b"state")
        while True:
            job = self._jobs.get()
            try:
                self._file.replace(job.data, lambda job=job: self._is_wanted(job))  # type: ignore[misc]
            except OSError as error:
                job.error = error
            except Exception as error:  # a bug of ours: the caller must still be answered
                job.error = OSError(errno.EIO, f"{type(error).__name__}: {error}")
            with self._lock:
                job.over.set()
                if job.is_given_up:
                    os.eventfd_write(self._wake, 1)

    def _is_wanted(self, job: _Job) -> bool:
        with self._lock:
            return not job.is_given_up
