"""Writes the authority's state to the disk without waiting for it, and tells the supervisor whether it is there.

Theory of operation. A thread writes, one file at a time; the authority's loop never waits for it. There are two ways to
write. What is in force already, such as a revocation, is kept (`keep`): it is written until it is persisted. What must
be persisted before it is in force is a change (`change`), and is applied twice: applied, encoded with all else, and
undone at once, so that it has no effect; when those bytes are on the disk it is applied for good, and `done` is called.
Its check is made each time: a change that has become wrong meanwhile is refused, and the state is written anew. All
that waits goes into one write. A slow disk makes answers late; one that fails, or takes longer than `PATIENCE_MS`,
refuses a change, and then the state of before is written again, as a failed write may have come half way.

A thread of its own, not that of the audit log: one may hang while the other writes. It is started after the seal.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from tlsrt.channels.clock import Moment
from tlsrt.errors import ConfigError, NotFound, PeerError, one_line
from tlsrt.sandbox.syscalls import name_thread
from tlsrt.supervisor.audit.vouch import StateSummary
from tlsrt.supervisor.authority.model.ports import Outgoing, Service
from tlsrt.supervisor.authority.model.state import AuthorityState, StateFile, encode_state

PATIENCE_MS = 30_000  # of a change: with a sync of 5 s it takes 20 s at most, as another write may go first
KEPT_MS = 5_000  # until the one who waits for `keep` is told that it is not persisted yet
FINISH_S = 2.0  # for the last write of a life
SLOW_MS = 1_000  # until the supervisor is told that the disk does not answer
RETRY_MS = 1_000  # after a state that could not be written
STALLED = f"cannot write the authority's state: its disk did not answer within {SLOW_MS} ms"
NOT_WRITTEN = "the authority's state cannot be written, so nothing has changed: make room on its disk"

Undo = Callable[[], None]
Apply = Callable[[], Undo]  # NotFound, ConfigError or PeerError refuses
Refused = Callable[[str], None]  # with a sentence: NOT_WRITTEN, or why the change is wrong


class Written(NamedTuple):
    """How a write went."""

    error: OSError | None = None
    is_replaced: bool = True  # False: it was given up in time, or failed


class StateThread(Protocol):
    """What writes, one state at a time."""

    def give(self, data: bytes) -> None:
        """Write this; never while there is another write."""

    def take(self) -> Written | None:
        """Return how it went, None while it goes on or if there is no write."""

    def give_up(self) -> None:
        """Do not put the file in the place of the old one, if that has not happened yet."""

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to take, but not longer."""


@dataclass(slots=True)
class _Change:
    apply: Apply
    done: Callable[[], None]
    refused: Refused
    until: int


class _Kept(NamedTuple):
    then: Callable[[bool], None]
    until: int


class StateWriter(Service):
    """Writes the state, retries, and tells the supervisor of a problem and of its end."""

    def __init__(
        self, thread: StateThread, state: AuthorityState, outgoing: Outgoing,
        persisted: Callable[[StateSummary], None] = lambda summary: None,
    ) -> None:  # fmt: skip
        """`persisted` is told what is on the disk, after each write."""
        self._thread = thread
        self._state = state
        self._outgoing = outgoing
        self._tell_persisted = persisted
        self._given_summary = self.persisted = state.summary()  # the boot has written it
        self._problem = ""
        self._is_dirty = False  # what is on the disk is not what is true
        self._retry_at = 0
        self._waiting: list[_Change] = []
        self._given: list[_Change] = []  # what is with the thread
        self._kept: list[_Kept] = []
        self._given_kept: list[_Kept] = []
        self._began: int | None = None  # when the thread got something
        self._is_working = False

    def change(self, apply: Apply, done: Callable[[], None], refused: Refused, now: int) -> None:
        """Persist a change and apply it, then call `done`; call `refused` if that is not possible."""
        self._waiting.append(_Change(apply, done, refused, now + PATIENCE_MS))
        self._retry_at = now
        self._work(now)

    def keep(self, now: int, then: Callable[[bool], None] = lambda is_stored: None) -> None:
        """Write what is true now until it is persisted. `then` hears once whether it is, after 5 s at the latest."""
        self._is_dirty = True
        self._kept.append(_Kept(then, now + KEPT_MS))
        self._retry_at = now
        self._work(now)

    def next_due(self) -> int | None:
        due = [change.until for change in (*self._waiting, *self._given)]
        due += [each.until for each in (*self._kept, *self._given_kept)]
        if self._began is None:
            if self._is_dirty or self._waiting:
                due.append(self._retry_at)
        elif not self._problem:
            due.append(self._began + SLOW_MS)
        return min(due, default=None)

    def tick(self, moment: Moment) -> None:
        self._work(moment.now)

    def finish(self, moment: Moment) -> None:
        """Write what is in force, at the end of this life. Changes that wait are refused."""
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            self._guarded(change.refused, "the authority ends, so nothing has changed: ask again")
        for _ in range(2):  # what is being written, and what has changed since
            self._work(moment.now)
            if self._began is not None:
                self._thread.wait(FINISH_S)
        self._work(moment.now)
        if self._is_dirty or self._began is not None:
            self._outgoing.log("the last changes of the state are not on the disk: it did not answer")

    def _work(self, now: int) -> None:
        """Do all that can be done now. What is called from here may ask for more; it gets its turn here."""
        if self._is_working:
            return
        self._is_working = True
        try:
            while self._take(now) or self._give(now):
                pass
            self._expire(now)
        finally:
            self._is_working = False

    def _give(self, now: int) -> bool:
        if self._began is not None or not (self._is_dirty or self._waiting) or now < self._retry_at:
            return False
        self._given, undos = [], list[Undo]()
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            try:
                undos.append(change.apply())
            except (NotFound, ConfigError, PeerError) as error:
                if undos:  # perhaps because of one before it, which is not persisted yet: it is decided after that
                    self._waiting.append(change)
                else:
                    self._guarded(change.refused, str(error))
            except Exception as error:  # a bug of ours in one change must not take the others along
                self._refuse_broken(change, error)
            else:
                self._given.append(change)
        self._state.number += 1
        try:
            data, self._given_summary = encode_state(self._state), self._state.summary()
        finally:
            for undo in reversed(undos):
                undo()
        if not self._given and not self._is_dirty:
            return bool(self._waiting)
        self._given_kept, self._kept = self._kept, []
        self._is_dirty, self._began = False, now
        self._thread.give(data)
        return True

    def _take(self, now: int) -> bool:
        if self._began is None or (written := self._thread.take()) is None:
            return False
        given, self._given, self._began = self._given, [], None
        kept, self._given_kept = self._given_kept, []
        if written.error is None and not written.is_replaced:  # it was given up for a change that waits no more
            self._waiting, self._is_dirty = [*given, *self._waiting], True
            self._kept = [*kept, *self._kept]
            return True
        if written.error is not None:
            self._is_dirty, self._retry_at = True, now + RETRY_MS
            self._tell(f"cannot write the authority's state: {written.error.strerror}")
            for change in [*given, *self._waiting[: (waiting := len(self._waiting))]]:
                self._guarded(change.refused, NOT_WRITTEN)
            del self._waiting[:waiting]
        else:
            self._retry_at = 0
            self._tell("")
            self.persisted = self._given_summary
            self._tell_persisted(self.persisted)
            for change in given:
                try:
                    change.apply()
                except (NotFound, ConfigError, PeerError) as error:
                    self._is_dirty = True
                    self._guarded(change.refused, str(error))
                except Exception as error:  # a bug of ours in one change must not take the answers of others along
                    self._is_dirty = True
                    self._refuse_broken(change, error)
                else:
                    self._guarded(change.done)
        for each in kept:
            self._guarded(each.then, written.error is None)
        return True

    def _expire(self, now: int) -> None:
        if self._began is not None and not self._problem and now - self._began >= SLOW_MS:
            self._tell(STALLED)
        over = [change for change in self._given if change.until <= now]
        if over:
            self._thread.give_up()
            self._is_dirty = True
            self._given = [change for change in self._given if change.until > now]
        over += [change for change in self._waiting if change.until <= now]
        self._waiting = [change for change in self._waiting if change.until > now]
        late = [each for each in (*self._given_kept, *self._kept) if each.until <= now]
        self._given_kept = [each for each in self._given_kept if each.until > now]
        self._kept = [each for each in self._kept if each.until > now]
        for change in over:
            self._guarded(change.refused, NOT_WRITTEN)
        for each in late:
            self._guarded(each.then, False)

    def _refuse_broken(self, change: _Change, error: Exception) -> None:
        self._outgoing.log(f"a change of the state could not be made: {one_line(error)}")
        self._guarded(change.refused, NOT_WRITTEN)

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._outgoing.log(problem or "the state is persisted again")
            self._outgoing.tell("storage", problem)

    def _guarded(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception as error:  # a bug of ours in what follows one write must not end all others
            self._outgoing.log(f"what follows a write of the state could not be done: {one_line(error)}")


class _Job:
    """One write. Its flags change under the lock."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.is_given_up = False
        self.is_replaced = False


class StateWriterThread:
    """A StateThread. `fileno()` is readable when there is something to take."""

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._done: SimpleQueue[Written] = SimpleQueue()
        self._job: _Job | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        threading.Thread(target=self._run, name="state", daemon=True).start()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._wake

    def give(self, data: bytes) -> None:
        """Write this."""
        self._job = _Job(data)
        self._jobs.put(self._job)

    def take(self) -> Written | None:
        """Return how it went, if it is over."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return None
        return self._done.get_nowait()

    def give_up(self) -> None:
        """Do not put the file in the place of the old one, if that has not happened yet."""
        if self._job is not None:
            with self._lock:
                self._job.is_given_up = True

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to take, but not longer."""
        select.select([self._wake], [], [], timeout_s)

    def _run(self) -> None:
        name_thread(b"state")
        while True:
            job = self._jobs.get()
            problem: OSError | None = None
            try:
                self._file.replace(job.data, lambda job=job: self._is_wanted(job))  # type: ignore[misc]
            except OSError as error:
                problem = error
            except Exception as error:  # a bug of ours: the caller must still be answered
                problem = OSError(errno.EIO, f"{type(error).__name__}: {error}")
            self._done.put(Written(problem, job.is_replaced and problem is None))
            os.eventfd_write(self._wake, 1)

    def _is_wanted(self, job: _Job) -> bool:
        with self._lock:
            job.is_replaced = not job.is_given_up
            return job.is_replaced
