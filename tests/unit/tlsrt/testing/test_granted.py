"""Devices that tests grant: those of several components side by side, and nothing left of one that cannot start."""

from __future__ import annotations

import asyncio
import os
import struct
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from tlsrt import Component
from tlsrt.testing import FakeDevice, running
from tlsrt.testing.granted import FakeGrants


class Unmakeable(Component):
    def __init__(self) -> None:
        raise LookupError("no")


def replaced() -> tuple[Callable[..., object], ...]:
    return os.open, open, termios.tcsetattr


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_component_that_cannot_be_made_leaves_nothing_in_the_process_of_the_test() -> None:
    before = replaced()
    counts: list[int] = []

    async def use() -> None:
        counts.append(descriptors())
        with pytest.raises(LookupError):
            async with running(Unmakeable, devices={"line": FakeDevice(baud=9600)}):
                pass
        counts.append(descriptors())

    asyncio.run(use())
    assert replaced() == before and counts[0] == counts[1]


def test_a_device_that_cannot_be_made_ends_those_before_it() -> None:
    before = replaced()

    async def use() -> None:
        count = descriptors()
        with pytest.raises(struct.error):
            FakeGrants({"a": FakeDevice(), "b": FakeDevice(baud=-5)}, None)
        assert descriptors() == count

    asyncio.run(use())
    assert replaced() == before


def test_two_components_have_their_devices_in_any_order_of_their_ends(tmp_path: Path) -> None:
    before = replaced()

    async def use() -> None:
        a, b, c = (FakeDevice(path=str(tmp_path / name / "line")) for name in ("a", "b", "b"))
        first, second = FakeGrants({"line": a}, None), FakeGrants({"line": b}, None)
        for fake in (a, b):
            assert await said(fake) == fake.path
        first.close()
        with pytest.raises(FileNotFoundError):
            os.open(a.path, os.O_RDWR)
        assert await said(b) == b.path
        third = FakeGrants({"line": c}, None)  # of two with one path it is that which came last
        assert await said(c) == b.path
        third.close()
        assert await said(b) == b.path
        second.close()

    asyncio.run(use())
    assert replaced() == before


def test_a_device_that_is_plugged_in_again_is_set_as_the_first_time() -> None:
    async def use() -> None:
        line = FakeDevice(baud=9600)
        async with running(Component, devices={"line": line}) as it:
            for _ in range(2):
                settings = termios.tcgetattr(it.component.device("line").fileno())
                assert settings[4] == termios.B9600 and not settings[3] & termios.ICANON
                line.unplug()
                reading = asyncio.create_task(it.component.device("line").read())
                while it.component.device("line").is_present:
                    await asyncio.sleep(0)
                line.plug()
                line.say(b"x")
                assert await reading == b"x"

    asyncio.run(use())


async def said(fake: FakeDevice) -> str:
    """Write a device's path to what the path opens, and return what comes out of the device."""
    with open(fake.path, "wb", buffering=0) as file:
        file.write(fake.path.encode())
    return (await fake.heard()).decode()
