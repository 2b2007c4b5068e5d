"""The alarm of forth/machine on a real clock: read back from the kernel, and it wakes the machine from S3."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tlsrt import InvalidArgument
from tlsrt.loops.forth.wake_alarm import WakeAlarm

SYS = Path("/sys")
CLOCK = SYS / "class/rtc/rtc0"
ASLEEP_S = 30  # from the alarm's setting: the way into sleep takes a part of it


async def write(setting: str, value: int) -> None:
    """Write as the helper does: digits and a line feed."""
    assert setting == "wake"
    (CLOCK / "wakealarm").write_text(f"{value}\n")


ALARM = WakeAlarm(SYS, write)


def left_s() -> int | None:
    """Return what the kernel says of the alarm."""
    text = (CLOCK / "wakealarm").read_text().strip()
    return int(text) - int((CLOCK / "since_epoch").read_text()) if text else None


def test_the_alarm_is_in_the_clock_and_is_taken_back() -> None:
    assert left_s() is None and ALARM.left_s() is None
    for seconds in (3600, 7200):  # the second one in the place of the first
        asyncio.run(ALARM.set(seconds))
        left = left_s()
        assert left is not None and seconds - 600 < left <= seconds
        assert seconds - 600 < (ALARM.left_s() or 0) <= seconds
    asyncio.run(ALARM.clear())
    assert left_s() is None and ALARM.left_s() is None


def test_an_alarm_of_another_program_is_replaced() -> None:
    now = int((CLOCK / "since_epoch").read_text())
    (CLOCK / "wakealarm").write_text(f"{now + 9000}\n")
    asyncio.run(ALARM.set(1800))
    left = left_s()
    assert left is not None and left <= 1800
    asyncio.run(ALARM.clear())


@pytest.mark.parametrize("wrong", [0, 4, 367 * 86400])
def test_an_alarm_at_once_or_after_years_is_refused(wrong: int) -> None:
    with pytest.raises(InvalidArgument):
        asyncio.run(ALARM.set(wrong))
    assert left_s() is None


def test_the_alarm_wakes_the_machine_from_its_sleep() -> None:
    done = SYS / "power/suspend_stats/success"
    before, count = slept_s(), int(done.read_text())
    asyncio.run(ALARM.set(ASLEEP_S))
    (SYS / "power/mem_sleep").write_text("deep")
    (SYS / "power/state").write_text("mem")  # returns when the machine is awake again
    assert int(done.read_text()) == count + 1
    assert 1 < slept_s() - before <= ASLEEP_S + 2
    assert left_s() is None, "the alarm is over"


def slept_s() -> float:
    """Return how long the machine has slept since it was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
