"""Input devices: events in any pieces, keys, chords, long presses, motion, scanners; a device goes and comes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tlsrt.errors import Busy, ConfigError, NotFound
from tlsrt.loops.third import input as input_module
from tlsrt.loops.third import input_device
from tlsrt.loops.third.input import Input
from tlsrt.loops.third.input_decoder import LINE_S, PRESSED_MOST, InputDecoder, InputOptions
from tlsrt.loops.third.input_events import ABS, EVENT, KEY, REL, SW, SYN, InputEvent, InputEvents, key_code, key_name
from tlsrt.testing import FakeDevice, SynchronousComponent, running_sync

A, B, SHIFT, ENTER = 30, 48, 42, 28
REPORT = InputEvent(SYN, 0, 0)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_device, "LOOK_S", 0.01)


def pack(*events: InputEvent) -> bytes:
    return b"".join(EVENT.pack(1, 2, *one) for one in events)


def press(*codes: int) -> list[InputEvent]:
    return [InputEvent(KEY, code, value) for code in codes for value in (1, 0)]


EVENTS = some.lists(
    some.tuples(some.integers(0, 65535), some.integers(0, 65535), some.integers(-(2**31), 2**31 - 1)), max_size=20
)


@given(events=EVENTS, step=some.integers(1, 60))
def test_events_are_read_in_any_pieces(events: list[tuple[int, int, int]], step: int) -> None:
    data, stream = pack(*(InputEvent(*one) for one in events)), InputEvents()
    found = [one for at in range(0, len(data), step) for one in stream.feed_untrusted(data[at : at + step])]
    assert [tuple(one) for one in found] == events


@given(events=EVENTS, lines=some.booleans())
def test_whatever_a_device_says_is_bounded(events: list[tuple[int, int, int]], lines: bool) -> None:
    decoder = InputDecoder(InputOptions(mode="lines") if lines else InputOptions(long_press_ms=5))
    for at, one in enumerate(events):
        for item in decoder.decode([InputEvent(*one)], at / 100):
            assert item["kind"] in ("key", "motion", "switch", "lost", "scan", "long_press")
    assert len(decoder._pressed) <= PRESSED_MOST


def test_names_of_keys() -> None:
    known = {28: "KEY_ENTER", 30: "KEY_A", 57: "KEY_SPACE", 115: "KEY_VOLUMEUP", 116: "KEY_POWER", 164: "KEY_PLAYPAUSE"}
    assert {code: key_name(code) for code in known} == known
    assert {key_code(name): name for name in known.values()} == known
    assert key_name(700) == "KEY_700" and key_code("KEY_700") == 700
    assert [key_code(one) for one in ("KEY_", "KEY_768", "A", "KEY_٣", "")] == [None] * 5


def test_keys_chords_and_long_presses() -> None:
    decoder = InputDecoder(InputOptions(chords={"both": ("KEY_A", "KEY_B")}, long_press_ms=500))
    assert decoder.decode([InputEvent(KEY, A, 1)], 1.0) == [{"kind": "key", "key": "KEY_A", "code": A, "state": "down"}]
    assert decoder.waits_for_time
    found = decoder.decode([InputEvent(KEY, B, 1)], 1.2)
    assert [one["kind"] for one in found] == ["key", "chord"] and found[1]["chord"] == "both"
    assert decoder.decode([], 1.5) == [{"kind": "long_press", "key": "KEY_A", "held_ms": 500}]
    assert decoder.decode([], 1.6) == [], "once"
    assert decoder.decode([], 1.8) != [] and not decoder.waits_for_time, "a key that stays down wakes nobody up"
    decoder.decode([InputEvent(KEY, A, 0), InputEvent(KEY, B, 0)], 1.85)
    assert not decoder.waits_for_time and decoder.decode([], 9.0) == []


def test_motion_is_one_item_for_each_report_and_is_joined_beyond_the_rate() -> None:
    decoder = InputDecoder(InputOptions(per_s=2))
    report = [InputEvent(REL, 0, 3), InputEvent(REL, 0, 4), InputEvent(ABS, 1, 9), InputEvent(ABS, 1, 8), REPORT]
    once = {"kind": "motion", "relative": {"REL_X": 7}, "absolute": {"ABS_Y": 8}}
    assert decoder.decode([*report, *report, *report, *report], 5.1) == [once, once]
    assert decoder.flush(6.1) == [{"kind": "motion", "relative": {"REL_X": 14}, "absolute": {"ABS_Y": 8}}]
    assert decoder.decode(press(A, A), 7.0)[-1]["state"] == "up"
    assert decoder.dropped == 2, "keys are left out and counted"


def test_switches_and_lost_events() -> None:
    decoder = InputDecoder(InputOptions())
    found = decoder.decode([InputEvent(SW, 0, 1), InputEvent(KEY, A, 1), InputEvent(SYN, 3, 0)], 1.0)
    assert found[0] == {"kind": "switch", "switch": "SW_LID", "is_on": True}
    assert found[-1] == {"kind": "lost"} and not decoder.waits_for_time


def test_lines_of_a_scanner() -> None:
    decoder = InputDecoder(InputOptions(mode="lines", line_chars=5))
    shifted = [InputEvent(KEY, SHIFT, 1), *press(A), InputEvent(KEY, SHIFT, 0)]
    assert decoder.decode([*press(2, 3), *shifted, *press(A, 12)], 1.0) == []
    assert decoder.decode(press(ENTER), 1.1) == [{"kind": "scan", "text": "12Aa-"}]
    assert decoder.decode(press(*[A] * 6, ENTER, ENTER), 1.2) == [] and decoder.lines_damaged == 1, "too long"
    decoder.decode(press(A), 2.0)
    assert decoder.decode(press(B, 96), 2.1 + LINE_S)[0]["text"] == "b", "half a line of before is none"
    assert decoder.lines_damaged == 2
    decoder.decode(press(A), 9.0)
    decoder.reset()
    assert decoder.decode(press(B, ENTER), 9.1) == [{"kind": "scan", "text": "b"}]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"inputs": {}}, "name 1 to 16"),
        ({"inputs": {"A": {}}}, "is no name"),
        ({"inputs": {"a": {"chords": {"x": ["KEY_A"]}}}}, "name 2 to 8 keys"),
        ({"inputs": {"a": {"chords": {"x": ["KEY_A", "KEY_NO"]}}}}, "there is no key KEY_NO"),
        ({"inputs": {"a": {"mode": "lines", "long_press_ms": 5}}}, "whole lines alone"),
        ({"inputs": {"a": {}}}, "no device of this name is granted"),
    ],
)
def test_wrong_options_keep_it_from_its_start(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence), running_sync(Input, options=options):
        pass


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice(path="/dev/input/event0", baud=9600)


@pytest.fixture
def inputs(device: FakeDevice) -> Iterator[SynchronousComponent]:
    options = {"inputs": {"keys": {"publish": True, "readers": ["client/anna"]}}}
    with running_sync(Input, options=options, devices={"keys": device}) as running:
        yield running


def test_what_is_typed_goes_to_its_listeners_and_to_no_log(
    inputs: SynchronousComponent, device: FakeDevice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert inputs.call("list", caller="client/eve") == []
    with pytest.raises(NotFound):
        next(inputs.stream("listen", "keys", caller="client/eve"))
    heard, told = inputs.stream("listen", "keys", caller="client/anna"), inputs.subscribe("input")
    assert next(heard) == {"is_present": True}
    data = pack(*press(A), REPORT)
    device.say(data[:30])
    device.say(data[30:])
    found = [next(heard) for _ in range(2)]
    assert [(one["key"], one["state"]) for one in found] == [("KEY_A", "down"), ("KEY_A", "up")]
    assert next(told)["key"] == "KEY_A"
    [shown] = inputs.call("list", caller="client/anna")
    assert shown["events"] == 3 and "KEY" not in str(shown) and "KEY_A" not in caplog.text


def test_it_goes_and_comes_and_half_an_event_is_forgotten(inputs: SynchronousComponent, device: FakeDevice) -> None:
    heard, told = inputs.stream("listen", "keys", caller="client/anna"), inputs.subscribe("presence")
    next(heard)
    device.say(pack(InputEvent(KEY, A, 1))[:10])
    device.unplug()
    assert next(heard)["is_present"] is False
    assert next(told) == {"input": "keys", "is_present": False}
    device.plug()
    assert next(heard)["is_present"] is True
    device.say(pack(*press(B)))
    assert next(heard)["key"] == "KEY_B"


def test_who_is_slow_misses_the_oldest_and_a_flood_is_bounded(inputs: SynchronousComponent, device: FakeDevice) -> None:
    heard = inputs.stream("listen", "keys", queue=2, caller="client/anna")
    next(heard)
    device.say(pack(*press(*[A] * 20)))
    while inputs.call("list", caller="client/anna")[0]["events"] < 40:
        inputs.run(asyncio.sleep(0))
    items: list[Any] = []
    while sum(one.get("dropped", 0) for one in items) + len(items) < 40:
        items.append(next(heard))
    assert len(items) < 10 and items[-1]["state"] == "up", "the newest"
    more = [inputs.stream("listen", "keys", caller="client/anna") for _ in range(input_module.LISTENERS_SHARE - 1)]
    for one in more:
        next(one)
    with pytest.raises(Busy):
        next(inputs.stream("listen", "keys", caller="client/anna"))
    device.say(os.urandom(2400))
    while inputs.call("list", caller="client/anna")[0]["events"] < 140:
        inputs.run(asyncio.sleep(0))
