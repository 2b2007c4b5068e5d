"""Sound of calls: down to 16 kHz, up to 48 kHz, tones and WAV files."""

from __future__ import annotations

import array
import io
import itertools
import math
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.external.call_leg import PIECE_BYTES, RATE
from tlsrt.loops.external.call_sound import HEARD_RATE, SpokenSamples, heard_samples, tone, wav_file


def sine(hertz: float, rate: int, seconds: float) -> bytes:
    count = round(rate * seconds)
    return array.array("h", [round(10000 * math.sin(2 * math.pi * hertz * at / rate)) for at in range(count)]).tobytes()


def hertz_of(data: bytes, rate: int) -> float:
    """Count the crossings upwards of what is a tone."""
    values = array.array("h", data)
    return sum(one < 0 <= two for one, two in itertools.pairwise(values)) * rate / len(values)


@pytest.mark.parametrize("hertz", [200, 1000, 3000])
def test_a_tone_stays_the_same_tone(hertz: int) -> None:
    heard = heard_samples(sine(hertz, RATE, 1))
    assert len(heard) == 2 * HEARD_RATE and abs(hertz_of(heard, HEARD_RATE) - hertz) < 2
    for rate in (8000, 16000, 22050, 44100, 48000):
        made = SpokenSamples(rate)
        pieces = made.feed(sine(hertz, rate, 1)) + made.end()
        assert {len(one) for one in pieces} == {PIECE_BYTES} and len(pieces) in (50, 51)
        assert abs(hertz_of(b"".join(pieces)[: 2 * RATE], RATE) - hertz) < 2


@given(st.binary(max_size=4000), st.sampled_from([8000, 22050, 48000]), st.integers(1, 2), st.data())
def test_it_is_the_same_in_any_parts(data: bytes, rate: int, channels: int, draw: st.DataObject) -> None:
    whole = SpokenSamples(rate, channels)
    wanted = b"".join(whole.feed(data) + whole.end())
    made, parts, rest = SpokenSamples(rate, channels), [], data
    while rest:
        size = draw.draw(st.integers(1, len(rest)))
        parts += made.feed(rest[:size])
        rest = rest[size:]
    assert b"".join(parts + made.end()) == wanted


@given(st.binary(max_size=2000))
def test_what_is_heard_is_never_more_than_a_third(data: bytes) -> None:
    assert len(heard_samples(data)) == len(data) // 6 * 2


def test_a_tone_begins_and_ends_softly() -> None:
    pieces = tone(1000, 0.4)
    values = array.array("h", b"".join(pieces))
    assert len(pieces) == 20 and {len(one) for one in pieces} == {PIECE_BYTES}
    assert 8000 < max(values) < 8200 and max(map(abs, values[:20])) < 400 and max(map(abs, values[-20:])) < 400


def test_a_file_is_one_that_others_read() -> None:
    samples = sine(440, HEARD_RATE, 0.5)
    with wave.open(io.BytesIO(wav_file(samples, HEARD_RATE))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, HEARD_RATE)
        assert file.readframes(file.getnframes()) == samples
