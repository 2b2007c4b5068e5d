"""The thread that waits for the disk, so that the authority does not. One piece of work at a time.

Why a thread, and no process: what it writes must be sealed where the keys are, and a process more would be one more
to bear, confine, attest and bury, with a channel that can be full as the disk can. It is started after the seal, so
it has filters and Landlock rules by birth; processes stay forbidden. A disk that does not answer holds it alone.
"""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import Protocol

from tlsrt.sandbox.syscalls import name_thread
from tlsrt.supervisor.audit.writer import Done, LogWriter, Work


class LogThread(Protocol):
    """Who writes."""

    def give(self, work: Work) -> None:
        """Write this; never while there is other work."""

    def take(self) -> Done | None:
        """Return how it went, None while it goes on or if there is no work."""


class WriterThread:
    """A Hand. `fileno()` is readable when there is something to take."""

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
