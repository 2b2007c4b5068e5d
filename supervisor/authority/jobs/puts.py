"""Taking jobs: callers put, list, show, pause and remove them, by way of the process of the target. Pure.

That process carries what a caller asks. To put takes a proof that only the caller's session can make; for all else its
word is enough, as it could refuse to run them too, and run its own handler at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.job_messages import JobListMessage, JobPutMessage, OwnJobMessage
from tlsrt.channels.frames.deferral import CALL_MAX, JOB_BYTES
from tlsrt.channels.frames.frame import DEADLINE_MAX_MS, NAME_MAX
from tlsrt.channels.session.heard_sessions import SLACK_MS
from tlsrt.channels.session.job_proof import job_data, verify_job
from tlsrt.channels.session.job_result import KEY_BYTES
from tlsrt.cron import Offset
from tlsrt.errors import (
    Busy,
    CallError,
    Conflict,
    Denied,
    InvalidArgument,
    MisuseError,
    NotFound,
    OutcomeUnknown,
    PeerError,
    Stale,
    Unavailable,
)
from tlsrt.rate_limit import Bucket, Buckets
from tlsrt.supervisor.authority.jobs.schedule import first_due, resumed, upcoming
from tlsrt.supervisor.authority.jobs.table import JobTable, Row, check_place, detail_of
from tlsrt.supervisor.authority.model.context import AuthorityContext, Undo
from tlsrt.supervisor.authority.model.jobs import JOBS_MAX, JOBS_OF_ONE, OPERATOR, OWNER, Job
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.model.ports import LoopHandler, Service
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.when import Period, late_max_s_untrusted, parse_when_untrusted

PUTS_OF_ONE, PUTS_OF_ONE_PER_S = 32, 1.0
PUTS, PUTS_PER_S = 256, 8.0
ASKS, ASKS_PER_S = 64, 8.0  # of one owner at one process: lists and removals
UNPROVED, UNPROVED_PER_S = 8, 1 / 60  # that are told


class JobPuts(Service):
    """Answers callers. `offset` is the time zone of the host's wall clock."""

    def __init__(self, context: AuthorityContext, jobs: JobTable, messages: KeyMessages, offset: Offset) -> None:
        self._context = context
        self._jobs = jobs
        self._messages = messages
        self._offset = offset
        self._puts = Buckets(PUTS_OF_ONE, PUTS_OF_ONE_PER_S)
        self._all_puts = Bucket(PUTS, PUTS_PER_S)
        self._asks = Buckets(ASKS, ASKS_PER_S)
        self._changes = Buckets(PUTS_OF_ONE, PUTS_OF_ONE_PER_S)
        self._unproved = Bucket(UNPROVED, UNPROVED_PER_S)
        self._taken: dict[bytes, int] = {}  # ids that were put, until their proofs are over
        self._putting: dict[bytes, tuple[Job, list[Callable[[CallError | None], None]]]] = {}  # who waits for a write

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {
            "job_put": self._on_put, "job_list": self._on_list, "job_show": self._on_show,
            "job_remove": self._on_remove, "job_pause": self._on_pause, "job_resume": self._on_resume,
        }  # fmt: skip

    def _on_put(self, entry: LoopEntry, message: JobPutMessage, moment: Moment) -> None:
        check_place(entry, message.component)
        try:
            job = self._checked_untrusted(message, moment)
        except CallError as error:
            self._jobs.answer(entry, message.number, error)
            return
        incarnation = entry.incarnation

        def answer(error: CallError | None) -> None:
            if entry.incarnation == incarnation:
                self._jobs.answer(entry, message.number, error)

        if job.job in self._putting:  # it is asked again while it is being written
            written, waiting = self._putting[job.job]
            if (written.owner, written.digest) == (job.owner, job.digest):
                waiting.append(answer)
            else:
                answer(Conflict("another job of this id is being put"))
            return
        if job.job in self._jobs.by_id:
            answer(None)
            return

        def put(error: CallError | None) -> None:
            if error is not None:
                self._taken.pop(job.job, None)
            for tell in self._putting.pop(job.job)[1]:
                tell(error)

        def refused(code: ResultCode, sentence: str) -> None:
            put((Unavailable if code is ResultCode.UNCHANGED else Busy)(f"the job was not put: {sentence}"))

        self._putting[job.job] = (job, [answer])
        self._taken[job.job] = message.deadline
        detail = detail_of(job) | {"when": job.when}
        self._context.transact(
            "job_put", job.owner, detail, moment, lambda: self._admit(job), lambda: put(None), refused
        )

    def _checked_untrusted(self, message: JobPutMessage, moment: Moment) -> Job:
        """Return the job; raise a CallError. That the session means it is checked before anything is read."""
        session = self._context.sessions.find(message.session)
        if session is None or not session.is_working or message.epoch not in self._context.epochs.issued:
            raise Stale("the session that puts this job is just beginning or has ended: put it again")
        if not moment.now <= message.deadline <= moment.now + DEADLINE_MAX_MS + SLACK_MS:
            raise Stale("the request to put this job came too late: put it again")
        data = job_data(
            message.session, message.component, message.method, message.deadline, message.job, message.when,
            message.missed, message.call, message.key,
        )  # fmt: skip
        try:
            verify_job(self._messages.proof_key(session, message.epoch), message.proof_number, data, message.proof)
        except PeerError:  # innocent only if Primary was replaced on the way
            if self._unproved.take(moment.now / 1000):
                words = f"it brought a job of {session.subject} without a proof"
                self._context.notes.note("job_refused", message.component, words, reason="unproved")
                self._context.outgoing.log(f"job refused of {message.component}: {words}")
            raise Stale("the proof of this job is of other keys: put it again") from None
        if not self._puts.take(session.subject, moment.now / 1000) or not self._all_puts.take(moment.now / 1000):
            raise Busy(f"{session.subject} puts jobs too fast: {PUTS_OF_ONE_PER_S:g} a second go on for ever")
        if (
            len(message.job) != JOB_BYTES or not 0 < len(message.call) <= CALL_MAX
            or not 0 < len(message.method) <= NAME_MAX or len(message.key) not in (0, KEY_BYTES)
        ):  # fmt: skip
            raise InvalidArgument("cannot put this job: its id, method or arguments are out of bounds")
        data = job_data(
            b"", message.component, message.method, 0, message.job, message.when, message.missed, message.call,
            message.key,
        )  # fmt: skip
        digest = sha256(data).digest()
        self._taken = {job: until for job, until in self._taken.items() if until >= moment.now}
        known = self._jobs.by_id.get(message.job)
        if known is not None or message.job in self._taken:  # this proof is one more that may be said again
            self._taken[message.job] = max(message.deadline, self._taken.get(message.job, 0))
        if known is not None and (known.owner, known.digest) == (session.subject, digest):
            return known
        if known is not None or (message.job in self._taken and message.job not in self._putting):
            raise Conflict("a job of this id was put before, and has ended or is another: put it with a new one")
        owner, identity = session.subject, self._jobs.identity_of(session.subject)
        if not self._jobs.may_put(owner):
            raise Denied(
                f"{owner} may use HTTP, so Primary holds its sessions: it puts no job without `http_jobs: true` at door"
            )
        if identity is None or self._jobs.refusal(owner, message.component, message.method) is not None:
            raise Denied(f"{owner} may not call {message.method} of {message.component}")
        try:
            late_max_s_untrusted(message.missed)
            due = first_due(message.when, message.job, moment.wall, self._offset)
            first = due if isinstance(parse_when_untrusted(message.when), Period) else 0
        except MisuseError as error:
            raise InvalidArgument(str(error)) from None
        return Job(
            message.job, owner, identity, message.component, message.method, message.when, message.missed,
            message.call, digest, due, moment.wall, first=first, key=message.key,
        )  # fmt: skip

    def _admit(self, job: Job) -> Undo:
        """Add a job, in the place of one that is over if need be. Raise NotFound without room."""
        jobs, before = self._jobs.by_id, dict(self._jobs.by_id)
        own = [one for one in jobs.values() if one.owner == job.owner]
        for found, most, whose in ((own, JOBS_OF_ONE, f"of {job.owner} "), ([*jobs.values()], JOBS_MAX, "")):
            if len(found) < most or job.job in jobs:
                continue
            over = min((one for one in found if one.is_over), key=lambda one: one.last, default=None)
            if over is None:
                raise NotFound(f"{most} jobs {whose}are waiting, which is the limit; remove one")
            jobs.pop(over.job, None)
        jobs[job.job] = job
        return lambda: self._restore(before)

    def _restore(self, before: dict[bytes, Job]) -> None:
        self._jobs.by_id.clear()
        self._jobs.by_id.update(before)

    def _on_list(self, entry: LoopEntry, message: JobListMessage, moment: Moment) -> None:
        check_place(entry, message.component)
        if not self._may_ask(entry, message, moment):
            return
        found = [job for job in self._jobs if (job.owner, job.target) == (message.owner, message.component)]
        self._jobs.answer(entry, message.number, None, [_row(job) for job in found[:JOBS_OF_ONE]])

    def _on_show(self, entry: LoopEntry, message: OwnJobMessage, moment: Moment) -> None:
        job = self._found(entry, message, moment)
        if job is not None:
            rows: Row = [*self.shown(job), job.call, job.result_run, job.result]
            self._jobs.answer(entry, message.number, None, rows)

    def _on_remove(self, entry: LoopEntry, message: OwnJobMessage, moment: Moment) -> None:
        job = self._found(entry, message, moment)
        if job is not None:
            self.remove(job, OWNER, moment, self._then(entry, message.number, "removed"))

    def _on_pause(self, entry: LoopEntry, message: OwnJobMessage, moment: Moment) -> None:
        job = self._changing(entry, message, moment)
        if job is not None:
            by = job.paused or OWNER  # that of an operator stays
            self.pause(job, by, moment, self._then(entry, message.number, "paused"))

    def _on_resume(self, entry: LoopEntry, message: OwnJobMessage, moment: Moment) -> None:
        job = self._changing(entry, message, moment)
        if job is not None and job.paused == OPERATOR:
            self._jobs.answer(entry, message.number, Denied("an operator has paused this job, and has to resume it"))
        elif job is not None:
            self.pause(job, "", moment, self._then(entry, message.number, "resumed"))

    def shown(self, job: Job) -> Row:
        """Return what is shown of one job: its row as in a list, next times, last ends, who paused it."""
        return [_row(job), upcoming(job, self._offset), [list(past) for past in job.history], job.paused]

    def _found(self, entry: LoopEntry, message: OwnJobMessage, moment: Moment) -> Job | None:
        """Return the job of the caller that is asked about; otherwise say why not."""
        check_place(entry, message.component)
        if not self._may_ask(entry, message, moment):
            return None
        job = self._jobs.by_id.get(message.job)
        if job is not None and (job.owner, job.target) == (message.owner, message.component):
            return job
        self._jobs.answer(entry, message.number, NotFound("there is no such job"))
        return None

    def _changing(self, entry: LoopEntry, message: OwnJobMessage, moment: Moment) -> Job | None:
        """Return the job that is paused or resumed: both may go on for ever, and each is a record and a write."""
        job = self._found(entry, message, moment)
        if job is None or self._changes.take(f"{entry.loop} {job.owner}", moment.now / 1000):
            return job
        self._jobs.answer(entry, message.number, Busy(f"{job.owner} pauses and resumes its jobs too often"))
        return None

    def _then(self, entry: LoopEntry, number: int, done: str) -> Callable[[bool], None]:
        """Return what answers the process that has asked when a change is on the disk, or is not yet."""
        incarnation = entry.incarnation

        def answer(is_stored: bool) -> None:
            if entry.incarnation == incarnation:
                error = None if is_stored else OutcomeUnknown(f"{done}, but not on the disk yet")
                self._jobs.answer(entry, number, error)

        return answer

    def _may_ask(self, entry: LoopEntry, message: JobListMessage | OwnJobMessage, moment: Moment) -> bool:
        may = self._asks.take(f"{entry.loop} {message.owner}", moment.now / 1000)
        if not may:
            self._jobs.answer(entry, message.number, Busy(f"{message.owner} asks for its jobs too often"))
        return may

    def remove(self, job: Job, by: str, moment: Moment, then: Callable[[bool], None]) -> None:
        """End a job, at once; `then` hears whether that is on the disk."""
        self._jobs.drop(job, f"removed by {by}", moment)
        self._context.writer.keep(moment.now, then)

    def pause(self, job: Job, by: str, moment: Moment, then: Callable[[bool], None]) -> None:
        """Have a job run no more until it is resumed, or go on if `by` is empty; `then` hears if it is on the disk."""
        if by != job.paused:
            detail = detail_of(job) | ({"by": by} if by else {})
            self._context.recorder.note("job_paused" if by else "job_resumed", job.owner, detail, moment)
            after = replace(job, paused=by) if by else resumed(job, moment.wall, self._offset)
            self._jobs.by_id[job.job] = after
        self._context.writer.keep(moment.now, then)


def _row(job: Job) -> Row:
    due, outcome = job.shown
    return [job.job, job.method, job.when, job.missed, due, job.run, job.last, outcome]
