"""When a job is due next, and what a time without the host or a jump of its clock changes. Pure.

Times are wall time in ms. A job at times of day keeps its due time when the clock is changed by less than 3 h, so
nothing runs twice; a larger change is the correction of a wrong clock, and it is found anew (cron(8) does the same, and
`@at` of a component). An instant is what the wall clock says. A delay and a period are spans: a change of the clock
moves them along, and so it does what is remembered of runs. Times that have passed are never counted one by one: the
next is found at once, however long the host was off.

A jitter moves all times of a job by the same, so that it changes neither their number nor their distance.
"""

from __future__ import annotations

from dataclasses import replace

from tlsrt.cron import Cron, Offset
from tlsrt.errors import MisuseError
from tlsrt.supervisor.authority.model.jobs import Job
from tlsrt.when import MOST_S, Delay, Instant, Period, delay_ms, late_max_s_untrusted, parse_when_untrusted

ON_TIME_MS = 60_000  # so late is not missed
CORRECTION_MS = 3 * 3_600_000
STEP_MS = 1_000  # a smaller change of the clock is its ordinary course
SHOWN_MAX = 5  # next times that are shown


def first_due(text: str, job: bytes, wall: int, offset: Offset) -> int:
    """Return when a job that is put now is due first. Raises MisuseError for a time that is past or far away."""
    when, late = parse_when_untrusted(text), delay_ms(text, job)
    if isinstance(when, Cron):
        return when.next_after(wall // 1000, offset) * 1000 + late
    if isinstance(when, Delay | Period):
        return wall + when.seconds * 1000 + late
    at = when.at * 1000
    if at < wall - ON_TIME_MS:
        raise MisuseError("cannot put a job off to a time that has passed")
    if at > wall + MOST_S * 1000:
        raise MisuseError(f"cannot put a job off for more than {MOST_S // 86_400} days")
    return at + late


def next_due(job: Job, wall: int, offset: Offset) -> int:
    """Return the first time of a job that is later than `wall`, 0 if it has none but the one that it was put for."""
    when = parse_when_untrusted(job.when)
    if isinstance(when, Cron):
        late = delay_ms(job.when, job.job)
        return when.next_after((wall - late) // 1000, offset) * 1000 + late
    if isinstance(when, Period):
        period = when.seconds * 1000
        return job.first + max(0, (wall - job.first) // period + 1) * period
    return 0


def following(job: Job, wall: int, offset: Offset) -> Job:
    """Return the job with the time after this one, or with none."""
    return replace(job, due=next_due(job, wall, offset), seen=wall)


def upcoming(job: Job, offset: Offset) -> list[int]:
    """Return the next times of a job, as far as they are shown; none while it is paused."""
    found = [job.due] if job.due and not job.paused else []
    while found and len(found) < SHOWN_MAX and (due := next_due(job, found[-1], offset)):
        found.append(due)
    return found


def is_missed(job: Job, wall: int) -> bool:
    """Tell whether a job that is due was to be left out when it is so late.

    With a bound, the time for which a target was waited counts too; with `skip`, only how late the try is.
    """
    late_max_s = late_max_s_untrusted(job.missed)
    due = job.due if job.missed == "skip" else job.slot or job.due
    return late_max_s is not None and wall - due > late_max_s * 1000


def resumed(job: Job, wall: int, offset: Offset) -> Job:
    """Return a paused job that goes on: times that came meanwhile are left out, but that of one that has no other."""
    job = replace(job, paused="", slot=job.slot if job.began else 0)
    after = next_due(job, wall, offset)
    return replace(job, due=after, seen=wall) if job.due <= wall and after else job


def after_jump(job: Job, jump: int, wall: int, offset: Offset) -> Job:
    """Return the job after the wall clock was moved by so much, to `wall`."""
    began, last, slot, first = (at and max(1, at + jump) for at in (job.began, job.last, job.slot, job.first))
    history = tuple(past._replace(began=max(1, past.began + jump)) for past in job.history)
    moved = replace(job, seen=wall, began=began, last=last, slot=slot, history=history)
    when = parse_when_untrusted(job.when)
    if not job.due or isinstance(when, Instant):
        return replace(moved, slot=job.slot)
    if isinstance(when, Delay):
        return replace(moved, due=max(1, job.due + jump))
    if isinstance(when, Period):
        return replace(moved, due=max(1, job.due + jump), first=first)
    if abs(jump) < CORRECTION_MS:
        return replace(moved, slot=job.slot)
    return following(moved if job.began else replace(moved, slot=0), wall, offset)


def at_start(job: Job, wall: int, offset: Offset) -> Job:
    """Return the job as a new life of the authority finds it: its clock may have been far ahead of now."""
    if wall <= job.seen - CORRECTION_MS:
        return after_jump(job, wall - job.seen, wall, offset)
    when = parse_when_untrusted(job.when)
    period = when.seconds * 1000 if isinstance(when, Period) else 0
    if period and job.due - wall > 2 * period:  # its clock was a little ahead, and a period waits for no hours
        back = ((job.due - wall) // period - 1) * period
        return replace(job, due=job.due - back, first=max(1, job.first - back), seen=wall)
    return job
