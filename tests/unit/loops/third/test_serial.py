"""Serial lines on a real terminal line: listeners, requests, one caller alone, and a device that comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tlsrt.errors import Busy, ConfigError, DeadlineExceeded, Denied, InvalidArgument, NotFound, Unavailable
from tlsrt.loops.third import serial, serial_line
from tlsrt.loops.third.serial import Serial
from tlsrt.testing import FakeDevice, SynchronousComponent, running, running_sync


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_line, "LOOK_S", 0.01)
    monkeypatch.setattr(serial_line, "SILENCE_S", 0.01)


@pytest.fixture
def line() -> FakeDevice:
    return FakeDevice(path="/dev/ttyUSB0", baud=9600)


@pytest.fixture
def lines(line: FakeDevice) -> Iterator[SynchronousComponent]:
    with running_sync(Serial, options={"lines": {"meter": {}}}, devices={"meter": line}) as running:
        yield running


def presence(lines: SynchronousComponent) -> Any:
    return lines.call("list")[0]["is_present"]


def test_frames_go_to_all_who_listen_and_the_last_one_stays(lines: SynchronousComponent, line: FakeDevice) -> None:
    assert lines.call("last", "meter") is None
    both = [lines.stream("listen", "meter") for _ in range(2)]
    assert [next(one) for one in both] == [{"is_present": True}] * 2
    line.say(b"power=1\r\npow")
    line.say(b"er=2\nhalf")
    for one in both:
        assert [next(one)["data"] for _ in range(2)] == ["power=1", "power=2"]
    assert lines.call("last", "meter")["data"] == "power=2"
    line.say(b"\xff\n")
    assert next(both[0])["data"] in ("half\\xff", "\\xff")


def test_who_is_slow_gets_the_newest_and_hears_of_the_rest(lines: SynchronousComponent, line: FakeDevice) -> None:
    newest, few = lines.stream("listen", "meter", latest=True), lines.stream("listen", "meter", queue=3)
    next(newest), next(few)
    line.say(b"".join(b"%d\n" % number for number in range(10)))
    while lines.call("list")[0]["frames"] < 10:
        continue
    seen: list[Any] = []
    while not seen or seen[-1]["data"] != "9":
        seen.append(next(few))
    assert sum(one.get("dropped", 0) for one in seen) + len(seen) == 10
    while (last := next(newest))["data"] != "9":
        continue
    assert last["number"] == 10


def test_a_request_has_the_next_answer(line: FakeDevice) -> None:
    asyncio.run(ask(line))


async def ask(line: FakeDevice) -> None:
    async with running(Serial, options={"lines": {"meter": {}}}, devices={"meter": line}) as lines:
        asked = asyncio.ensure_future(lines.call("request", "meter", "volt?", prefix="volt="))
        second = asyncio.ensure_future(lines.call("request", "meter", "amp?"))
        assert await line.heard() == b"volt?\n", "one request at a time"
        line.say(b"noise\nvolt=230\n")
        assert await asked == "volt=230"
        assert await line.heard() == b"amp?\n"
        line.say(b"5\n")
        assert await second == "5"
        with pytest.raises(DeadlineExceeded, match="answer within"):
            await lines.call("request", "meter", "?", timeout_s=0.02)
        assert await line.heard() == b"?\n"
        asked = asyncio.ensure_future(lines.call("request", "meter", "volt?", timeout_s=20))
        await line.heard()
        line.unplug()
        with pytest.raises(Unavailable, match="went away"):
            await asked


def test_a_device_that_goes_and_comes(lines: SynchronousComponent, line: FakeDevice) -> None:
    heard, told = lines.stream("listen", "meter"), lines.subscribe("presence")
    next(heard)
    line.say(b"one\nhalf")
    assert next(heard)["data"] == "one"
    line.unplug()
    assert next(heard) == {"is_present": False}
    assert next(told) == {"line": "meter", "is_present": False}
    assert lines.call("last", "meter") is None and presence(lines) is False
    with pytest.raises(Unavailable):
        lines.call("send", "meter", "x")
    line.plug()
    assert next(heard) == {"is_present": True}
    line.say(b"two\n")
    assert next(heard)["data"] == "two", "half a line of the one before belongs to no other"
    lines.call("send", "meter", "x")
    assert lines.run(line.heard()) == b"x\n"


def test_one_caller_alone(lines: SynchronousComponent, line: FakeDevice) -> None:
    held = lines.stream("hold", "meter", caller="client/anna")
    assert next(held) == {"line": "meter", "holder": "client/anna"}
    for method in ("send", "request"):
        with pytest.raises(Busy, match="held by client/anna"):
            lines.call(method, "meter", "x", caller="client/ben")
    with pytest.raises(Busy):
        next(lines.stream("hold", "meter", caller="client/ben"))
    assert lines.call("list")[0]["holder"] == "client/anna", "one that was refused has not let it go"
    lines.call("send", "meter", "x", caller="client/anna")
    held.close()
    lines.call("send", "meter", "y", caller="client/ben")


def test_rights_and_wrong_input(line: FakeDevice) -> None:
    options = {"lines": {"meter": {"readers": ["client/anna"], "writers": ["client/ben"], "frame_bytes": 10}}}
    with running_sync(Serial, options=options, devices={"meter": line}) as lines:
        assert lines.call("list", caller="client/eve") == []
        with pytest.raises(NotFound):
            lines.call("last", "meter", caller="client/eve")
        with pytest.raises(NotFound):
            lines.call("last", "nothing", caller="client/ben")
        with pytest.raises(Denied):
            lines.call("send", "meter", "x", caller="client/anna")
        for wrong in ("a\nb", "x" * 11, b"\n"):
            with pytest.raises(InvalidArgument):
                lines.call("send", "meter", wrong, caller="client/ben")


def test_listeners_are_bounded(lines: SynchronousComponent) -> None:
    streams = [lines.stream("listen", "meter") for _ in range(serial.LISTENERS_SHARE)]
    for one in streams:
        next(one)
    with pytest.raises(Busy):
        next(lines.stream("listen", "meter"))
    for one in streams:
        one.close()
    assert lines.call("list")[0]["listeners"] == 0


def test_a_line_that_is_not_granted_is_said_at_the_start() -> None:
    with (
        pytest.raises(ConfigError, match="line meter: no device of this name is granted"),
        running_sync(Serial, options={"lines": {"meter": {}}}),
    ):
        pass


def test_binary_frames(line: FakeDevice) -> None:
    with running_sync(Serial, options={"lines": {"m": {"framing": "length"}}}, devices={"m": line}) as lines:
        heard = lines.stream("listen", "m")
        next(heard)
        line.say(b"\xff\xff")  # no length that there is: lost until there is a silence
        while lines.call("list")[0]["damaged"] == 0:
            continue
        lines.run(asyncio.sleep(0.1))  # the silence
        line.say(b"\0\2ok")
        assert next(heard)["data"] == b"ok"
