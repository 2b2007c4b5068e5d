"""Meter, scale and what is plugged in, on lines and events of a test."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from home_devices.meter import Meter
from home_devices.plugged import Plugged
from home_devices.scale import Scale

from tlsrt import CallError, Uevent
from tlsrt.testing import FakeDevice, FakeEvents, running, running_sync


def test_the_meter_is_read_and_told() -> None:
    line = FakeDevice(path="/dev/ttyUSB0", baud=9600)
    with running_sync(Meter, devices={"line": line}) as meter:
        line.say(b"power=1250\r\n")
        assert until(lambda: meter.call("last")) == {"power": 1250.0}
        meter.call("tell", "report")
        assert meter.run(line.heard()) == b"report\n"
        line.unplug()
        until(lambda: meter.call("last") and line.lost)
        line.plug()
        line.say(b"power=1\n")
        assert until(lambda: meter.call("last")["power"] == 1.0)


async def weighed(grams: float, line: FakeDevice) -> None:
    async with running(Scale, devices={"line": line}, options={"retry_s": 0.05}) as scale:
        weights = scale.subscribe("weight")
        line.say(b"12.5\r\n")
        assert await anext(weights) == grams
        assert await scale.call("weigh") == grams
        await scale.call("zero")
        assert await line.heard() == b"Z\r\n"


def test_pyserial_reads_the_scale() -> None:
    asyncio.run(weighed(12.5, FakeDevice(baud=9600)))


def test_a_speed_that_was_not_granted_is_told() -> None:
    with (
        pytest.raises(Exception, match="its entry says another baud"),
        running_sync(Scale, devices={"line": FakeDevice(baud=19200)}),
    ):
        pass


def test_a_scale_that_is_not_there() -> None:
    with running_sync(Scale, devices={"line": FakeDevice(plugged=False)}) as scale, pytest.raises(CallError):
        scale.call("zero")


def test_what_is_plugged_in_is_told() -> None:
    events = FakeEvents()
    with running_sync(Plugged, events=events) as plugged:
        plugged.call("recent")
        events.happen(Uevent("add", "tty", "/devices/x", "ttyUSB0"))
        assert until(lambda: plugged.call("recent"))[0]["name"] == "ttyUSB0"


def until(what: Any) -> Any:
    """Ask until it is true; each call lets the component go on."""
    for _ in range(10_000):
        if found := what():
            return found
    raise AssertionError("it did not happen")
