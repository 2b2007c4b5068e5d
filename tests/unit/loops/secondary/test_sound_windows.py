"""Windows of sound: cut in pauses, never too long, silence left out, and the same however the pieces are cut."""

from __future__ import annotations

import array
import math

import pytest

from tlsrt.loops.sampling.wav import SoundFormat
from tlsrt.loops.secondary.sound_windows import FRAME_S, LEAST_S, MOST_S, SoundWindows, Window

RATE = 8000
SHAPE = SoundFormat(RATE, 1)


def tone(seconds: float, amplitude: int = 8000) -> bytes:
    return array.array("h", (round(amplitude * math.sin(at / 3)) for at in range(round(seconds * RATE)))).tobytes()


def windows(sound: bytes, size: int) -> list[Window]:
    cutter = SoundWindows(SHAPE)
    found = [one for at in range(0, len(sound), size) for one in cutter.feed(sound[at : at + size])]
    last = cutter.end()
    return found if last is None else [*found, last]


@pytest.mark.parametrize("size", [100, 1601, 10**6])
def test_a_window_ends_in_a_pause_once_it_has_some_seconds(size: int) -> None:
    sound = tone(2) + bytes(RATE) + tone(3) + bytes(RATE) + tone(1)
    first, second = windows(sound, size)
    assert first.start_s == 0.0 and 5.5 < len(first.data) / SHAPE.bytes_per_s < 6.0, "the pause at 2 s is too early"
    assert first.data + second.data == sound
    assert second.start_s == pytest.approx(len(first.data) / SHAPE.bytes_per_s)


def test_sound_without_a_pause_is_cut_where_it_is_quietest() -> None:
    sound = tone(22) + tone(0.1, 2000) + tone(20)
    found = windows(sound, 4096)
    assert b"".join(one.data for one in found) == sound
    assert max(len(one.data) for one in found) / SHAPE.bytes_per_s <= MOST_S + FRAME_S
    assert found[1].start_s == pytest.approx(22.05, abs=0.1)


def test_silence_is_left_out_and_what_follows_has_its_time() -> None:
    (found,) = windows(bytes(2 * RATE * 20) + tone(2), 999)
    assert 14 <= found.start_s <= 20 and found.start_s + len(found.data) / SHAPE.bytes_per_s == pytest.approx(22)
    assert windows(bytes(2 * RATE * 60), 4096) == [] and windows(b"", 10) == []


def test_a_sample_that_is_cut_in_two_at_the_end_is_left_out() -> None:
    (found,) = windows(tone(LEAST_S / 2) + b"\1", 10**6)
    assert len(found.data) % 2 == 0
