"""Group commit: the queue of records and of their waiters. Pure but for the thread.

Theory of operation. Records are handed over together, whenever the thread is free (group commit): at once if there is a
waiter, else after a moment. A waiter is answered once: `then` when the record is on the disk, `otherwise` when that has
failed or has taken longer than its patience. A record that arrives on the disk after its `otherwise` cannot be taken
back, so another one says that it was not done. Ordinary records wait in a bounded queue; those for which there
is no room are counted, and the next record that is written says how many. A security record takes the place of an
ordinary one that waits. Nothing here blocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from tlsrt.channels.clock import Moment
from tlsrt.errors import one_line
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.audit.kept import SECURITY
from tlsrt.supervisor.audit.record import KIND_MAX, SUBJECT_MAX, Detail, LogRecord, plain_detail
from tlsrt.supervisor.audit.recorder import OPERATOR, Otherwise, Patience, Then
from tlsrt.supervisor.audit.vouch import KEPT as STATE_KEPT
from tlsrt.supervisor.audit.writer import CHECKPOINT_MS, Done, Head, LogThread, Work
from tlsrt.text import ascii_only

VOUCHED = SECURITY | {STATE_KEPT}  # few, and what else is in the log rests on them: no flood of others drops them
NOTE_MS = 50  # how long ordinary records wait for others
RETRY_MS = 1_000  # ordinary records that could not be written
NOTES_MAX = 4_096
NOTES_PER_S = 50  # in the long run, so that no flood fills the disk: 1 GB a day
WAITERS_MAX = 1_024
BATCH_MAX = 512
FULL = f"{WAITERS_MAX} records that must be written first wait for the audit log: its disk is too slow"


@dataclass(slots=True)
class _Waiter:
    """A record that must be written first, and its two answers; None once one was given."""

    record: LogRecord
    patience: Patience
    until: int | None  # known with the next tick: who asks may have an old clock
    answer: tuple[Then, Otherwise] | None


class Observer(Protocol):
    """What is told of the log."""

    def head_signed(self, head: Head) -> None:
        """A checkpoint was signed."""

    def written(self, done: Done) -> None:
        """The thread has come back; told after `head_signed` and `problem_changed`."""

    def problem_changed(self, problem: str) -> None:
        """Nothing can be written, and why; empty: it can again."""

    def log(self, line: str) -> None:
        """Write one line to the log of the process."""


class GroupCommit:
    """The queue of one life: the Recorder."""

    def __init__(self, thread: LogThread, now: int, observer: Observer) -> None:
        self._thread = thread
        self._observer = observer
        self._notes: deque[tuple[int, LogRecord]] = deque()  # when it came
        self._waiters: deque[_Waiter] = deque()
        self._busy: list[_Waiter | tuple[int, LogRecord]] = []  # with the thread
        self._began: int | None = None  # when it got that
        self._now = now  # of the last tick
        self._allowance = Bucket(NOTES_MAX, NOTES_PER_S)
        self._dropped = 0
        self._told_dropped = 0  # of them, in the batch that is with the thread
        self._retry_at = 0
        self._unsigned_since: int | None = None
        self._root_key = b""  # to be named
        self._given_key = b""  # with the thread
        self._problem = ""
        self.dropped = 0  # in this life, whether the log says so already or not

    def note(self, kind: str, subject: str, detail: Detail, moment: Moment) -> None:
        """Write an ordinary record soon."""
        if kind in VOUCHED or self._allowance.take(moment.now / 1000):
            self._write_later(_record(kind, subject, detail, moment), moment.now)
        else:
            self._drop()

    def before(
        self, kind: str, subject: str, detail: Detail, moment: Moment, then: Then, otherwise: Otherwise,
        patience: Patience = OPERATOR,
    ) -> None:  # fmt: skip
        """Write a record durably, then call `then`. Call `otherwise` if that failed, or took longer than `patience`."""
        waiter = _Waiter(_record(kind, subject, detail, moment), patience, None, (then, otherwise))
        if self._began is not None and self._now - self._began >= patience.wait_ms:
            self._give_up(waiter, stalled(patience), moment.now)
        elif len(self._waiters) >= WAITERS_MAX:
            self._give_up(waiter, FULL, moment.now)
        else:
            self._waiters.append(waiter)

    def name_root_key(self, public: bytes) -> None:
        """Name the root key that signs the next life, with a checkpoint."""
        self._root_key = public

    @property
    def problem(self) -> str:
        """Return why nothing can be written now, empty if it can."""
        return self._problem

    # Turns

    def next_due(self) -> int | None:
        """Return when `tick` has something to do, but for what the thread gives back."""
        waits = [waiter.until or 0 for waiter in (*self._waiters, *self._waiting_in_thread())]
        if self._began is None:
            if self._waiters or self._root_key:
                return 0
            if self._notes:
                waits.append(max(self._notes[0][0] + NOTE_MS, self._retry_at))
            if self._unsigned_since is not None:
                waits.append(max(self._unsigned_since + CHECKPOINT_MS, self._retry_at))
            if self._problem:
                waits.append(self._retry_at)
        return min(waits, default=None)

    def tick(self, moment: Moment) -> None:
        """Answer those whose record is written or whose time is over, and hand over what waits."""
        self._now = moment.now
        self._take(moment)
        self._expire(moment.now)
        if self._began is None and self._is_due(moment.now):
            self._give(moment)

    def rest(self, moment: Moment, end: str) -> Work:
        """Return all that waits, for the end of this life. No waiter is told that its record is written."""
        waiting = [*self._waiting_in_thread(), *self._waiters]
        work = Work(self._batch(moment, NOTES_MAX + WAITERS_MAX), *moment, end)
        for waiter in waiting:
            self._refuse(waiter, "the authority ends")
        return work

    def _waiting_in_thread(self) -> list[_Waiter]:
        return [item for item in self._busy if isinstance(item, _Waiter) and item.answer is not None]

    def _is_due(self, now: int) -> bool:
        due = self.next_due()
        return due is not None and due <= now

    def _batch(self, moment: Moment, most: int) -> list[LogRecord]:
        """Take the first records that wait, in the order in which they came."""
        records: list[LogRecord] = []
        self._busy = []
        if self._dropped:
            detail = {"records": self._dropped}
            records.append(_record("dropped", "audit", detail, moment))
            self._told_dropped = self._dropped
        while len(records) < most and (self._notes or self._waiters):
            if not self._waiters or (self._notes and self._notes[0][1].boottime < self._waiters[0].record.boottime):
                note = self._notes.popleft()
                self._busy.append(note)
                records.append(note[1])
            else:
                waiter = self._waiters.popleft()
                self._busy.append(waiter)
                records.append(waiter.record)
        return records

    def _give(self, moment: Moment) -> None:
        records = self._batch(moment, BATCH_MAX)
        self._began = moment.now
        self._given_key, self._root_key = self._root_key, b""
        self._thread.give(Work(records, *moment, root_key=self._given_key, is_signed=bool(self._problem)))

    def _take(self, moment: Moment) -> None:
        if self._began is None or (done := self._thread.take()) is None:
            return
        busy, self._busy, self._began = self._busy, [], None
        if done.problem:
            self._notes.extendleft(reversed([item for item in busy if not isinstance(item, _Waiter)]))
            self._retry_at = moment.now + RETRY_MS
            self._root_key = self._root_key or self._given_key
            if self._unsigned_since is not None:
                self._unsigned_since = moment.now  # so that this is not tried without a pause
        else:
            self._dropped -= self._told_dropped
            self._unsigned_since = moment.now if busy and self._unsigned_since is None else self._unsigned_since
        self._told_dropped = 0
        if done.head is not None:
            self._unsigned_since = None
            self._observer.head_signed(done.head)
        self._note_problem(done.problem)
        if done.notice:
            self._observer.log(done.notice)
        self._observer.written(done)
        for item in busy:
            if isinstance(item, _Waiter):
                self._written(item, done.problem, moment)

    def _written(self, waiter: _Waiter, problem: str, moment: Moment) -> None:
        answer, waiter.answer = waiter.answer, None
        if answer is None:
            if not problem and not waiter.patience.is_done_anyway:
                detail = {"kind": waiter.record.kind, "why": "it was written too late"}
                self.note("not_done", waiter.record.subject, detail, moment)
        elif problem:
            if waiter.patience.is_done_anyway:
                self._write_later(waiter.record, moment.now)
            self._answer(answer[1], problem)
        else:
            self._guarded(answer[0])

    def _expire(self, now: int) -> None:
        for waiter in self._waiters:
            if waiter.until is None:
                waiter.until = now + waiter.patience.wait_ms
        for waiter in [each for each in self._waiting_in_thread() if (each.until or 0) <= now]:
            self._note_problem(stalled(waiter.patience))
            self._refuse(waiter, stalled(waiter.patience))
        for waiter in [each for each in self._waiters if (each.until or 0) <= now]:
            self._waiters.remove(waiter)
            self._note_problem(stalled(waiter.patience))
            self._give_up(waiter, stalled(waiter.patience), now)

    def _give_up(self, waiter: _Waiter, sentence: str, now: int) -> None:
        """Refuse a record that the thread has not got. What is done without it is written when the disk is back."""
        if waiter.patience.is_done_anyway:
            self._write_later(waiter.record, now)
        self._refuse(waiter, sentence)

    def _refuse(self, waiter: _Waiter, sentence: str) -> None:
        answer, waiter.answer = waiter.answer, None
        if answer is not None:
            self._answer(answer[1], sentence)

    def _write_later(self, record: LogRecord, now: int) -> None:
        if len(self._notes) >= NOTES_MAX:
            self._drop()
            if record.kind not in VOUCHED or not self._make_room():
                return
        self._notes.append((now, record))

    def _make_room(self) -> bool:
        """Take the first record that may be dropped out of the queue; return whether there was one."""
        for index, (_, record) in enumerate(self._notes):
            if record.kind not in VOUCHED:
                del self._notes[index]
                return True
        return False

    def _drop(self) -> None:
        self._dropped += 1
        self.dropped += 1

    def _note_problem(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._observer.problem_changed(problem)

    def _answer(self, otherwise: Otherwise, sentence: str) -> None:
        self._guarded(lambda: otherwise(sentence))

    def _guarded(self, call: Then) -> None:
        try:
            call()
        except Exception as error:  # a bug of ours in what follows one record must not end all others
            self._observer.log(f"what follows a record could not be done: {one_line(error)}")


def stalled(patience: Patience) -> str:
    """Return the sentence about a record that has waited as long as it may."""
    return f"the audit log did not take the record within {patience.wait_ms} ms: its disk stalls"


def _record(kind: str, subject: str, detail: Detail, moment: Moment) -> LogRecord:
    return LogRecord(*moment, ascii_only(kind, KIND_MAX), ascii_only(subject, SUBJECT_MAX), plain_detail(detail))
