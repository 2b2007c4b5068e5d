"""Running jobs: each is run by its target when it is due, at most once for each time. Pure.

Theory of operation. When a job is due, its owner must still be the one who put it, not revoked, and allowed by the
policy of now; then a record of the run and the run itself are on the disk before the target is told. So a run begins at
most once, whatever dies. A target that is away is waited for; one that restarts in the middle leaves an outcome that is
unknown. A new authority says a run again to a process that was there before, which runs it only if it has not heard of
it.

A target runs its own handler, with the owner as caller, and gets no key: a job opens no other component to it.

Rules. A due time is looked at every half second. While the host is locked nothing runs. Jobs end with those who leave:
a client that is revoked for good or enrolled anew, a component that a reload removes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.job_messages import OUTCOME, JobOverMessage
from tlsrt.channels.frames.frame import DEADLINE_MAX_MS
from tlsrt.channels.session.job_result import SEALED_MAX
from tlsrt.cron import Offset
from tlsrt.errors import NotFound
from tlsrt.supervisor.authority.jobs.schedule import STEP_MS, after_jump, at_start, following, is_missed
from tlsrt.supervisor.authority.jobs.table import JobTable, check_place, detail_of
from tlsrt.supervisor.authority.model.client_registry import Registry
from tlsrt.supervisor.authority.model.context import AuthorityContext, Undo
from tlsrt.supervisor.authority.model.jobs import DONE, ENDED_MS, RUNNING, UNKNOWN, Job, Past
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.model.ports import LoopHandler, Service
from tlsrt.supervisor.messages.result_codes import ResultCode

LOOK_MS = 500
RETRY_MS = 10_000  # after a disk that refuses
AWAY_MS, AWAY_MAX_MS = 5_000, 180_000  # after a target that had not started: doubled each time in a row
RUN_MS = DEADLINE_MAX_MS + 30_000  # so long an outcome is waited for; the target's own deadline is before
RUNNING_OF_TARGET = 8  # at a time
_AWAY = "away"


class JobRuns(Service):
    """Has jobs run. `offset` is the time zone of the host's wall clock."""

    def __init__(
        self, context: AuthorityContext, jobs: JobTable, registry: Registry, offset: Offset, *, is_resumed: bool
    ) -> None:
        self._context = context
        self._jobs = jobs
        self._state = context.state
        self._loops = context.loops
        self._registry = registry
        self._offset = offset
        self._beginning: set[bytes] = set()  # whose run is being written
        self._not_before: dict[bytes, int] = {}  # of runs that could not be written
        self._pauses: dict[bytes, int] = {}  # the last one of each job whose target was away last
        self._look_at = 0
        self._clocks: Moment | None = None  # at the last look
        self._components: frozenset[str] | None = None
        self._changes = -1
        self._recover(context.moment(), is_resumed=is_resumed)

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"job_over": self._on_over}

    def tick(self, moment: Moment) -> None:
        if moment.now < self._look_at:
            return
        self._look_at = moment.now + LOOK_MS
        if self._jobs.by_id:
            self._look(moment)
        self._clocks = moment

    def _look(self, moment: Moment) -> None:
        self._follow_clock(moment)
        self._sweep(moment)
        self._not_before = {job: until for job, until in self._not_before.items() if until > moment.now}
        self._pauses = {job: pause for job, pause in self._pauses.items() if job in self._jobs.by_id}
        for job in self._jobs:
            if self._jobs.by_id.get(job.job) is not job:
                continue  # a write that has just ended has changed it: at the next look
            if job.began and moment.wall - job.began > RUN_MS and job.job not in self._beginning:
                job = self._end_run(job, UNKNOWN, moment)
            if job.is_over and moment.wall - job.last > ENDED_MS:
                self._jobs.by_id.pop(job.job, None)
            elif job.due and job.due <= moment.wall and not job.paused and not self._context.state.lock:
                self._due(job, moment)

    def _due(self, job: Job, moment: Moment) -> None:
        if job.job in self._beginning or self._not_before.get(job.job, 0) > moment.now:
            return
        reason = self._jobs.refusal(job.owner, job.target, job.method)
        if reason is None and is_missed(job, moment.wall):
            reason = "missed"
        if reason is None and job.began:
            reason = "overlap"  # its last run is not over
        if reason is not None:
            self._refuse(job, reason, moment)
        elif self._loops.mailbox(job.target) and self._has_room(job.target):
            self._begin(job, moment)

    def _has_room(self, target: str) -> bool:
        beginning = [one for one in self._beginning if one in self._jobs.by_id]
        running = sum(one.target == target and bool(one.began) for one in self._jobs)
        return running + sum(self._jobs.by_id[one].target == target for one in beginning) < RUNNING_OF_TARGET

    def _refuse(self, job: Job, reason: str, moment: Moment) -> None:
        """Leave out a run, and say so. A job at times of day stays: it is judged anew each time."""
        after = following(job, moment.wall, self._offset)
        if not job.began:
            after = replace(after, slot=0, outcome=reason)
        after = replace(after, history=job.ended(Past(moment.wall, 0, reason)))
        self._jobs.put_back(after if after.due else replace(after, call=b"", last=job.last or moment.wall), moment)
        self._context.notes.note("job_refused", job.owner, f"{job.target} {job.method}: {reason}", reason=reason)
        self._context.recorder.note("job_refused", job.owner, detail_of(job) | {"reason": reason}, moment)

    def _begin(self, job: Job, moment: Moment) -> None:
        """Write down that a run begins, and then have it run."""
        incarnation = self._loops.mailbox(job.target)
        running = replace(
            following(job, moment.wall, self._offset), run=job.run + 1, began=moment.wall, last=moment.wall,
            incarnation=incarnation, outcome=RUNNING, slot=job.slot or job.due,
        )  # fmt: skip

        def change() -> Undo:
            if self._jobs.by_id.get(job.job) != job:
                raise NotFound("the job has changed meanwhile")
            self._jobs.by_id[job.job] = running
            return lambda: self._jobs.by_id.update({job.job: job})

        def done() -> None:
            self._beginning.discard(job.job)
            now = self._context.moment()
            reason = self._jobs.refusal(job.owner, job.target, job.method)
            if reason is not None:
                self._refuse(replace(running, began=0), reason, now)
            elif self._state.lock is not None or self._loops.mailbox(job.target) != incarnation:
                self._wait(running, now)  # it was not told
            else:
                self._run(running)

        def refused(code: ResultCode, sentence: str) -> None:
            self._beginning.discard(job.job)
            self._not_before[job.job] = self._context.now + RETRY_MS
            self._context.outgoing.log(f"job {job.job.hex()} of {job.owner} does not run now: {sentence}")

        self._beginning.add(job.job)
        detail = detail_of(job) | {"run": running.run, "due": running.slot}
        self._context.transact("job_run", job.owner, detail, moment, change, done, refused)

    def _run(self, job: Job) -> None:
        self._context.notes.note(
            "job_run", job.owner, f"{job.target} {job.method}", job=job.job.hex(), target=job.target, run=job.run
        )
        self._say_run(job)

    def _say_run(self, job: Job) -> None:
        loop = self._loops.of(job.target).loop
        self._context.outgoing.send(
            loop, "job_run", job.target, job.job, job.run, job.owner, job.method, job.call, job.key
        )  # fmt: skip

    def _on_over(self, entry: LoopEntry, message: JobOverMessage, moment: Moment) -> None:
        check_place(entry, message.component)
        job = self._jobs.by_id.get(message.job)
        is_of = job is not None and (job.target, job.run, job.incarnation) == (
            message.component, message.run, entry.incarnation
        )  # fmt: skip
        if job is None or not is_of or not job.began or not OUTCOME.fullmatch(message.outcome):
            return  # it was removed meanwhile, or waited for no longer
        if message.outcome == _AWAY:
            self._wait(job, moment)
        else:
            if job.key and 0 < len(message.result) <= SEALED_MAX:
                job = replace(job, result=message.result, result_run=job.run)
            self._end_run(job, message.outcome, moment)

    def _wait(self, job: Job, moment: Moment) -> None:
        """Have a run that has surely not begun begin later: each try is a record, so there are ever fewer."""
        pause = self._pauses[job.job] = min(AWAY_MAX_MS, 2 * self._pauses.get(job.job, 0) or AWAY_MS)
        self._jobs.put_back(replace(job, due=moment.wall + pause, seen=moment.wall, began=0, outcome=_AWAY), moment)

    def _end_run(self, job: Job, outcome: str, moment: Moment) -> Job:
        self._pauses.pop(job.job, None)
        after = _at_end(job, outcome, moment.wall)
        self._jobs.put_back(after, moment)
        if outcome != DONE:
            words = f"{job.target} {job.method}: {outcome}"
            self._context.notes.note("job_failed", job.owner, words, job=job.job.hex(), target=job.target)
        return after

    def joined(self, loop: str, moment: Moment) -> None:
        """Settle the runs of components whose process has got its keys: of this process, or of one before."""
        entry = self._loops.find(loop)
        if entry is None:
            return
        for job in [one for one in self._jobs if one.began and one.target in entry.components]:
            if job.job in self._beginning:
                continue  # its write is under way
            if job.incarnation != entry.incarnation:
                self._end_run(job, UNKNOWN, moment)
            elif not self._state.lock and self._jobs.refusal(job.owner, job.target, job.method) is None:
                self._say_run(job)  # by the authority before us perhaps: it is run if it was not heard of

    def _sweep(self, moment: Moment) -> None:
        """Drop the jobs of those who have left, when clients or components have changed."""
        components = self._loops.expected  # one that moves may be in no process for a while
        if (components, self._registry.changes) == (self._components, self._changes):
            return
        gone = (self._components or components) - components  # removed by a reload: at a start, one may only be away
        self._components, self._changes = components, self._registry.changes
        for job in self._jobs:
            if job.target in gone or job.owner in gone:
                self._jobs.drop(job, "a component was removed", moment)
            elif job.identity != "component" and self._jobs.identity_of(job.owner) != job.identity:
                self._jobs.drop(job, "its owner has left", moment)
            else:
                continue
            self._context.notes.note("job_refused", job.owner, f"{job.target} {job.method}: ended", reason="left")
            self._context.writer.keep(moment.now)

    def _follow_clock(self, moment: Moment) -> None:
        before = self._clocks
        if before is None:
            return
        jump = (moment.wall - before.wall) - (moment.now - before.now)
        if abs(jump) < STEP_MS:
            return
        for job in self._jobs:  # one whose run is being written has changed then: it is tried again with these times
            self._jobs.by_id[job.job] = after_jump(job, jump, moment.wall, self._offset)
        self._context.writer.keep(moment.now)

    def _recover(self, moment: Moment, *, is_resumed: bool) -> None:
        """Take over from the life before. Of a boot before, nothing runs any more."""
        for job in self._jobs:
            after = at_start(job, moment.wall, self._offset)
            if after.began and not is_resumed:
                after = _at_end(after, UNKNOWN, after.began)
            self._jobs.by_id[job.job] = after  # written with what is written next


def _at_end(job: Job, outcome: str, wall: int) -> Job:
    """Return the job after a run that has begun, as it ended at `wall`."""
    past = Past(job.began, max(0, wall - job.began), outcome)
    call = job.call if job.due else b""
    result, of_run = (job.result, job.result_run) if job.result_run == job.run else (b"", 0)  # none of a run before
    return replace(
        job, began=0, slot=0, outcome=outcome, call=call, history=job.ended(past), result=result, result_run=of_run
    )
