"""What leaves with a beat, how much of it, and under which name."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tlsrt.channels.control.life import LIFE, LoopState
from tlsrt.channels.control.seqpacket import ControlChannel, control_pair
from tlsrt.loops.runtime.heartbeat import REPORTS_PER_BEAT, Heartbeat
from tlsrt.sandbox.syscalls import name_thread
from tlsrt.supervisor.process.heartbeat_name import made_by_main_thread


@pytest.fixture
def named() -> Iterator[None]:
    """Give this thread its name back."""
    with open("/proc/self/comm", "rb") as file:
        before = file.read().strip()
    yield
    name_thread(before)


@pytest.mark.usefixtures("named")
def test_a_beat_carries_a_few_reports_and_the_thread_its_number() -> None:
    ours, theirs = control_pair()
    supervisor, loop = ControlChannel(ours, LIFE), ControlChannel(theirs, LIFE)
    heart = Heartbeat("secondary", loop, lambda now: None)
    reports = {index: (index, 1, 0) for index in range(REPORTS_PER_BEAT + 3)}
    said: list[str] = []
    for number in (1, 2, 3):
        heart.send(reports, 0, 1, 2, 3, 4, 5)
        while (message := supervisor.receive("loop", LoopState.ACTIVE)) is not None:
            said.append(message[0])
        assert made_by_main_thread(os.getpid(), number, number - 1)
        assert not made_by_main_thread(os.getpid(), number + 1, number), "that beat has not been made yet"
    assert said == [*["health"] * REPORTS_PER_BEAT, "beat", *["health"] * 3, "beat", "beat"]
    assert not reports
    supervisor.close()
    loop.close()


def test_a_process_that_is_gone_makes_no_beat() -> None:
    assert not made_by_main_thread(1 << 30, 1, 0)
