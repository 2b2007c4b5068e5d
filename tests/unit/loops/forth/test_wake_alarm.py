"""The alarm of a clock, on a tree of /sys that the test makes and a kernel that answers EBUSY as the real one does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tlsrt.config.host_settings import setting_path
from tlsrt.config.number_ranges import parse_values
from tlsrt.errors import Failed, InvalidArgument, Unavailable
from tlsrt.loops.forth.wake_alarm import CLOCK, LEAST_S, MOST_S, SETTING, WakeAlarm

NOW = 1_700_000_000


class Clock:
    """Files of a clock; `write` does as drivers/rtc/sysfs.c: no alarm over one that is set."""

    def __init__(self, sys: Path) -> None:
        self.folder = sys / CLOCK
        self.folder.mkdir(parents=True)
        (self.folder / "since_epoch").write_text(f"{NOW}\n")
        (self.folder / "wakealarm").write_text("")
        self.alarm = WakeAlarm(sys, self.write)

    async def write(self, name: str, value: int) -> None:
        assert name == SETTING
        file = self.folder / "wakealarm"
        if value and file.read_text():
            raise Failed("Device or resource busy")
        file.write_text(f"{value}\n" if value else "")


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


def test_an_alarm_is_set_replaced_and_taken_back(clock: Clock) -> None:
    assert clock.alarm.left_s() is None
    asyncio.run(clock.alarm.set(3600))
    assert (clock.folder / "wakealarm").read_text() == f"{NOW + 3600}\n" and clock.alarm.left_s() == 3600
    asyncio.run(clock.alarm.set(60))
    assert clock.alarm.left_s() == 60
    asyncio.run(clock.alarm.clear())
    assert clock.alarm.left_s() is None
    asyncio.run(clock.alarm.clear())


@pytest.mark.parametrize("in_s", [LEAST_S - 1, MOST_S + 1])
def test_a_time_that_is_none_is_refused_and_leaves_the_alarm(clock: Clock, in_s: int) -> None:
    asyncio.run(clock.alarm.set(60))
    with pytest.raises(InvalidArgument, match="5 seconds to a year"):
        asyncio.run(clock.alarm.set(in_s))
    assert clock.alarm.left_s() == 60


@pytest.mark.parametrize("text", ["", "soon", "-5", "9" * 30])
def test_a_clock_that_lies_is_not_there(clock: Clock, text: str) -> None:
    (clock.folder / "since_epoch").write_text(text)
    with pytest.raises(Unavailable, match="no clock that wakes it"):
        clock.alarm.left_s()


def test_a_machine_without_such_a_clock_says_so(tmp_path: Path) -> None:
    async def write(name: str, value: int) -> None:
        raise AssertionError

    with pytest.raises(Unavailable, match="no clock that wakes it"):
        asyncio.run(WakeAlarm(tmp_path, write).set(60))


def test_the_grant_of_the_guide_is_one() -> None:
    assert setting_path("/sys/class/rtc/rtc0/wakealarm") == "/sys/class/rtc/rtc0/wakealarm"
    values = parse_values("0-4294967295")
    assert values.has(0) and values.has(NOW + MOST_S) and not values.has(1 << 32)
