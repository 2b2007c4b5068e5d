"""Processors and scheduling classes of loops: what is asked for is applied, what the host does not give is said."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable

import pytest

from tlsrt.config.scheduling import SchedulingConfig
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.scheduling import RUN_S, check_scheduling, schedule


def in_a_child(body: Callable[[], bool]) -> bool:
    """Scheduling of this process would stay changed for the tests after this one."""
    child = os.fork()
    if not child:
        os._exit(0 if body() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def grants_real_time() -> bool:
    try:
        check_scheduling(SchedulingConfig(real_time=("primary",)))
    except ConfigError:
        return False
    return True


def test_nothing_asked_nothing_changed() -> None:
    before = os.sched_getaffinity(0), os.sched_getscheduler(0), resource.getrlimit(resource.RLIMIT_RTTIME)
    check_scheduling(SchedulingConfig())
    schedule("third", SchedulingConfig(cpus={"primary": (0,)}, real_time=("primary",)))
    assert before == (os.sched_getaffinity(0), os.sched_getscheduler(0), resource.getrlimit(resource.RLIMIT_RTTIME))


def test_a_loop_gets_its_processors_and_no_other() -> None:
    one = min(os.sched_getaffinity(0))
    wanted = SchedulingConfig(cpus={"third": (one,)})
    check_scheduling(wanted)

    def body() -> bool:
        schedule("third", wanted)
        return os.sched_getaffinity(0) == {one}

    assert in_a_child(body)


def test_a_processor_that_is_not_here_is_named_with_those_that_are() -> None:
    with pytest.raises(
        ConfigError, match=r"scheduling\.cpus\.third: this host does not give us processor 4095: choose"
    ):
        check_scheduling(SchedulingConfig(cpus={"third": (4095,)}))


def test_real_time_is_bounded_and_not_inherited_or_refused_with_what_to_do() -> None:
    wanted = SchedulingConfig(real_time=("third",), priority=7)
    before = os.sched_getscheduler(0)
    if not grants_real_time():
        with pytest.raises(ConfigError, match="CAP_SYS_NICE"):
            check_scheduling(wanted)
        return
    assert os.sched_getscheduler(0) == before  # asking has changed nothing

    def body() -> bool:
        schedule("third", wanted)
        applied = os.sched_getscheduler(0) == os.SCHED_RR | os.SCHED_RESET_ON_FORK
        bounded = resource.getrlimit(resource.RLIMIT_RTTIME) == (RUN_S * 1_000_000,) * 2
        ordinary = in_a_child(lambda: os.sched_getscheduler(0) == os.SCHED_OTHER)
        return applied and bounded and ordinary and os.sched_getparam(0).sched_priority == 7

    assert in_a_child(body)
