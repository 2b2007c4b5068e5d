"""Jobs in the state: what was put off, by whom, when it is due, and how its last run went. Pure.

Times are wall time in ms. A job is bound to the identity of its owner, so that another client of the same name, which
is enrolled after the owner has gone, has nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any

from tlsrt.channels.frames.deferral import CALL_MAX, JOB_BYTES, MISSED
from tlsrt.errors import ConfigError, MisuseError
from tlsrt.when import parse_when_untrusted

JOBS_MAX, JOBS_OF_ONE = 256, 32  # in all, and of one owner: with the largest calls, 1 MiB of state
ENDED_MS = 86_400_000  # a job that has no other time is listed for so long
RUNNING, UNKNOWN, DONE = "running", "unknown", "done"


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

    @property
    def is_over(self) -> bool:
        """Tell whether it does not run, and never will."""
        return not self.due and not self.began


_KINDS = [{"str": str, "bytes": bytes, "int": int}[str(one.type)] for one in fields(Job)]


def encode_jobs(jobs: Mapping[bytes, Job]) -> list[list[object]]:
    """Return the jobs as msgpack takes them."""
    return [list(astuple(job)) for job in jobs.values()]


def decode_jobs(items: Any) -> dict[bytes, Job]:
    """Return the jobs in what was unpacked. Raise ConfigError for anything that `encode_jobs` does not make."""
    found: dict[bytes, Job] = {}
    for item in items:
        if not isinstance(item, list) or list(map(type, item)) != _KINDS:
            raise ConfigError("not a job")
        job = Job(*item)
        try:
            parse_when_untrusted(job.when)
        except MisuseError:
            raise ConfigError("not a job") from None
        if len(job.job) != JOB_BYTES or job.missed not in MISSED or len(job.call) > CALL_MAX or job.job in found:
            raise ConfigError("not a job")
        found[job.job] = job
    return found
