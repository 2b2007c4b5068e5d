"""Jobs in the state: what was put off, by whom, when it is due, and how its last run went. Pure.

Times are wall time in ms. A job is bound to the identity of its owner, so that another client of the same name, which
is enrolled after the owner has gone, has nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, NamedTuple

from tlsrt.channels.frames.deferral import CALL_MAX, JOB_BYTES
from tlsrt.errors import ConfigError, MisuseError
from tlsrt.when import late_max_s_untrusted, parse_when_untrusted

JOBS_MAX, JOBS_OF_ONE = 256, 32  # in all, and of one owner: with the largest calls, 1 MiB of state
ENDED_MS = 86_400_000  # a job that has no other time is listed for so long
PAST_MAX = 5  # ends that are remembered of one job
RUNNING, UNKNOWN, DONE, PAUSED = "running", "unknown", "done", "paused"
OWNER, OPERATOR = "its owner", "an operator"


class Past(NamedTuple):
    """How a run ended, or why a time was left out."""

    began: int
    took: int  # ms; 0 of one that did not begin
    outcome: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job. `due` is 0 when there is no next time, `began` when it does not run now."""

    job: bytes
    owner: str
    identity: str  # of the owner: see JobService
    target: str
    method: str
    when: str
    missed: str
    call: bytes  # the body of the request; empty when there is no next time
    digest: bytes  # of what was put, so that a repetition is known
    due: int
    seen: int  # what the clock said when `due` was found, or when the clock was moved after that
    run: int = 0
    began: int = 0
    incarnation: int = 0  # of the target's process, of the last run
    last: int = 0  # when that began
    outcome: str = ""
    first: int = 0  # due time of a period: the others are whole periods later
    slot: int = 0  # the due time of a run that is under way, or waits for its target
    key: bytes = b""  # of its owner, for which results are sealed; empty if none is kept
    result: bytes = b""  # the last one, sealed
    result_run: int = 0
    paused: str = ""  # by whom: OWNER or OPERATOR; empty if it is not
    history: tuple[Past, ...] = ()

    @property
    def shown(self) -> tuple[int, str]:
        """Its next time and its last outcome, as they are listed: a paused one has no next time."""
        return (0, PAUSED) if self.paused and self.due else (self.due, self.outcome)

    def ended(self, past: Past) -> tuple[Past, ...]:
        """Return its history with one more end."""
        return (*self.history, past)[-PAST_MAX:]

    @property
    def is_over(self) -> bool:
        """Tell whether it does not run, and never will."""
        return not self.due and not self.began


_KINDS = [{"str": str, "bytes": bytes, "int": int}.get(str(one.type), list) for one in fields(Job)]
_LEAST = sum(one.default is MISSING for one in fields(Job)) + 5  # fields that a release before periods wrote


def encode_jobs(jobs: Mapping[bytes, Job]) -> list[list[object]]:
    """Return the jobs as msgpack takes them."""
    return [[getattr(job, one.name) for one in fields(job)] for job in jobs.values()]


def decode_jobs(items: Any) -> dict[bytes, Job]:
    """Return the jobs in what was unpacked. Raise ConfigError for anything that `encode_jobs` does not make."""
    found: dict[bytes, Job] = {}
    for item in items:
        if not isinstance(item, list) or len(item) < _LEAST or list(map(type, item)) != _KINDS[: len(item)]:
            raise ConfigError("not a job")
        history = tuple(_past(one) for one in item[-1]) if len(item) == len(_KINDS) else ()
        job = replace(Job(*item[: len(_KINDS) - 1]), history=history)
        try:
            parse_when_untrusted(job.when)
            late_max_s_untrusted(job.missed)
        except MisuseError:
            raise ConfigError("not a job") from None
        if len(job.job) != JOB_BYTES or len(job.call) > CALL_MAX or job.job in found:
            raise ConfigError("not a job")
        found[job.job] = job
    return found


def _past(item: Any) -> Past:
    if not isinstance(item, list) or list(map(type, item)) != [int, int, str]:
        raise ConfigError("not the history of a job")
    return Past(*item)
