"""Give a loop its processors and its scheduling class, as the configuration asks; in the child, before the sandbox.

A sealed loop can change neither. Real time is SCHED_RR, sched(7): such a loop runs before every ordinary process, so
a busy host does not delay a call. Two things keep it from taking the host: the kernel leaves 5 % of each second to
others, and RLIMIT_RTTIME ends it when it has run for RUN_S without once waiting (getrlimit(2)). What it forks has the
ordinary class again (SCHED_RESET_ON_FORK).
"""

from __future__ import annotations

import os
import resource

from tlsrt.config.scheduling import SchedulingConfig
from tlsrt.errors import ConfigError

RUN_S = 10  # a loop that works off a long queue is no runaway yet


def check_scheduling(wanted: SchedulingConfig) -> None:
    """Raise ConfigError with all that this host does not grant; asked once, before anything is started."""
    here = os.sched_getaffinity(0)
    problems = [
        f"scheduling.cpus.{loop}: this host does not give us processor {', '.join(map(str, missing))}: "
        f"choose from {', '.join(map(str, sorted(here)))}"
        for loop, cpus in wanted.cpus.items()
        if (missing := sorted(set(cpus) - here))
    ]
    if wanted.real_time:
        before, priority = os.sched_getscheduler(0), os.sched_getparam(0)
        try:
            _run_in_real_time(wanted.priority)
            os.sched_setscheduler(0, before, priority)
        except OSError as error:
            problems.append(
                f"scheduling.real_time: this host does not grant it ({error.strerror}): start tlsrt with CAP_SYS_NICE, "
                "or leave the list empty"
            )
    if problems:
        raise ConfigError(problems)


def schedule(loop: str, wanted: SchedulingConfig) -> None:
    """Apply it to this process."""
    if cpus := wanted.cpus.get(loop):
        os.sched_setaffinity(0, cpus)
    if loop in wanted.real_time:
        limit = RUN_S * 1_000_000
        resource.setrlimit(resource.RLIMIT_RTTIME, (limit, limit))
        _run_in_real_time(wanted.priority)


def _run_in_real_time(priority: int) -> None:
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
