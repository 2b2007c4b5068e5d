"""When a job is due next, and what a time without the host or a jump of its clock changes. Pure.

Times are wall time in ms. A job at times of day keeps its due time when the clock is changed by less than 3 h, so
nothing runs twice; a larger change is the correction of a wrong clock, and it is found anew (cron(8) does the same, and
`@at` of a component). An instant is what the wall clock says. A delay is a span: a change of the clock moves it along,
and so it does what is remembered of runs.
"""

from __future__ import annotations

from dataclasses import replace

from tlsrt.cron import Cron, Offset
from tlsrt.errors import MisuseError
from tlsrt.supervisor.authority.model.jobs import Job
from tlsrt.when import MOST_S, Delay, Instant, When, parse_when_untrusted

ON_TIME_MS = 60_000  # so late is not missed
CORRECTION_MS = 3 * 3_600_000
STEP_MS = 1_000  # a smaller change of the clock is its ordinary course


def first_due(when: When, wall: int, offset: Offset) -> int:
    """Return when a job that is put now is due first. Raises MisuseError for a time that is past or far away."""
    if isinstance(when, Cron):
        return when.next_after(wall // 1000, offset) * 1000
    if isinstance(when, Delay):
        return wall + when.seconds * 1000
    at = when.at * 1000
    if at < wall - ON_TIME_MS:
        raise MisuseError("cannot put a job off to a time that has passed")
    if at > wall + MOST_S * 1000:
        raise MisuseError(f"cannot put a job off for more than {MOST_S // 86_400} days")
    return at


def following(job: Job, wall: int, offset: Offset) -> Job:
    """Return the job with the time after this one, or with none."""
    when = parse_when_untrusted(job.when)
    due = when.next_after(wall // 1000, offset) * 1000 if isinstance(when, Cron) else 0
    return replace(job, due=due, seen=wall)


def is_missed(job: Job, wall: int) -> bool:
    """Tell whether a job that is due was to be left out when it is so late."""
    return job.missed == "skip" and wall - job.due > ON_TIME_MS


def after_jump(job: Job, jump: int, wall: int, offset: Offset) -> Job:
    """Return the job after the wall clock was moved by so much, to `wall`."""
    began, last = (at and max(1, at + jump) for at in (job.began, job.last))
    moved = replace(job, seen=wall, began=began, last=last)
    when = parse_when_untrusted(job.when)
    if not job.due or isinstance(when, Instant):
        return moved
    if isinstance(when, Delay):
        return replace(moved, due=max(1, job.due + jump))
    return moved if abs(jump) < CORRECTION_MS else following(moved, wall, offset)


def at_start(job: Job, wall: int, offset: Offset) -> Job:
    """Return the job as a new life of the authority finds it: its clock may have been far ahead of now."""
    if wall > job.seen - CORRECTION_MS:
        return job
    return after_jump(job, wall - job.seen, wall, offset)
