"""Sound: WAV files in pieces, levels, and outputs with a queue, over a program of the test."""

from __future__ import annotations

import array
import asyncio
import io
import math
import struct
import threading
import wave
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tlsrt.config.argument_patterns import parse_form
from tlsrt.config.manifest import parse_manifest
from tlsrt.errors import Busy, ConfigError, DeadlineExceeded, Denied, InvalidArgument, NotFound, Unavailable
from tlsrt.loops.sampling.sound_level import LEAST_DB, level_of
from tlsrt.loops.sampling.wav import SoundFormat, WavError, WavReader
from tlsrt.loops.third import sound
from tlsrt.loops.third.sound import DeviceOptions, Sound
from tlsrt.testing import SynchronousComponent, running, running_sync

MANIFEST = Path(__file__).parents[4] / "loops" / "third" / "sound.tlsrt.yaml"
FORMS = [parse_form(one) for one in parse_manifest(MANIFEST.read_bytes(), MANIFEST).tree["programs"]["pacat"]["args"]]
OPTIONS = {"outputs": {"room": {}, "hall": {"users": ["client/anna"], "volume": 50}}, "inputs": {"ear": {}}}


def wav(samples: bytes, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(samples)
    return file.getvalue()


def read(data: bytes, step: int) -> tuple[SoundFormat | None, bytes]:
    reader = WavReader()
    found = b"".join(reader.feed_untrusted(data[at : at + step]) for at in range(0, len(data), step))
    return reader.format, found


@given(
    samples=some.binary(max_size=300), rate=some.integers(8000, 48000), channels=some.integers(1, 2),
    step=some.integers(1, 100),
)  # fmt: skip
def test_what_was_written_is_read_in_any_pieces(samples: bytes, rate: int, channels: int, step: int) -> None:
    samples = samples[: len(samples) // 4 * 4]
    assert read(wav(samples, rate, channels), step) == ((rate, channels), samples)


@given(data=some.binary(max_size=200), step=some.integers(1, 50))
def test_any_bytes_are_a_sound_or_the_one_error(data: bytes, step: int) -> None:
    for one in (data, b"RIFF\0\0\0\0WAVE" + data, wav(b"")[:36] + data):
        try:
            read(one, step)
        except WavError:
            continue


def test_chunks_before_the_samples_are_skipped_and_what_follows_them_is_not_played() -> None:
    made = wav(b"abcd")
    tagged = made[:12] + b"LIST" + struct.pack("<I", 3) + b"tag\0" + made[12:] + b"LIST" + bytes(100)
    assert read(tagged, 7) == ((8000, 1), b"abcd")
    endless = made[:40] + b"\xff\xff\xff\xff" + b"abcdef"
    assert read(endless, 5)[1] == b"abcdef"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"OggS" + bytes(20), "it is no WAV file"),
        (wav(b"", width=1), "16 bits"),
        (wav(b"", rate=192_000), "192000 samples"),
        (wav(b"", channels=6), "6 channels"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "before their format"),
        (b"RIFF\0\0\0\0WAVEfmt \2\0\0\0ab", "cut off"),
        (b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\xff", "more than 64 KiB"),
    ],
)
def test_what_cannot_be_played_is_told(data: bytes, sentence: str) -> None:
    with pytest.raises(WavError, match=sentence):
        read(data, 1000)


def test_levels() -> None:
    sine = array.array("h", [round(32767 * math.sin(at / 10)) for at in range(6283)]).tobytes()
    level = level_of(sine)
    assert level is not None
    assert (level.rms_db, level.peak_db) == (-3.0, 0.0)
    assert level_of(bytes(100)) == (LEAST_DB, LEAST_DB)
    assert level_of(b"\0\x80") == (0.0, 0.0), "the least value there is"
    assert level_of(b"x") is None


@given(data=some.binary(min_size=2, max_size=64))
def test_any_samples_have_a_level(data: bytes) -> None:
    level = level_of(data)
    assert level is not None
    assert LEAST_DB <= level.rms_db <= level.peak_db <= 0


class Pacat:
    """A program of the test: it takes what it is fed, and gives what it was told."""

    def __init__(self) -> None:
        self.arguments: list[tuple[str, ...]] = []
        self.played = bytearray()
        self.status = 0
        self.gives = b""
        self.goes_on = threading.Event()
        self.goes_on.set()

    def __call__(self, name: str, *arguments: str) -> Pacat:
        assert any(one.fits(list(arguments)) for one in FORMS), arguments
        self.arguments.append(arguments)
        return self

    async def __aenter__(self) -> Pacat:
        return self

    async def __aexit__(self, *error: object) -> None:
        """It ends by itself."""

    stderr = "Connection failure: Connection refused\n"

    def feed(self, data: AsyncIterable[bytes]) -> None:
        self._fed = data

    async def wait(self) -> int:
        if self.arguments[-1][0] == "-p":
            async for one in self._fed:
                self.played += one
        while not self.goes_on.is_set():
            await asyncio.sleep(0.001)
        return self.status

    async def read(self, count: int) -> bytes:
        data, self.gives = self.gives[:count], self.gives[count:]
        await asyncio.sleep(0)
        return data


@pytest.fixture
def pacat() -> Pacat:
    return Pacat()


@pytest.fixture
def device(pacat: Pacat, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Sound, "program", lambda self, *words: pacat(*words))
    with running_sync(Sound, options={**OPTIONS, "play_s": 1}) as device:
        yield device


def test_a_sound_is_played_with_the_volume_of_the_options(device: SynchronousComponent, pacat: Pacat) -> None:
    answer = device.upload("play", wav(b"abcd" * 2000), "hall", 80, caller="client/anna")
    assert answer == {"played_s": 0.5, "stopped_by": None}
    assert pacat.played == b"abcd" * 2000
    assert "--volume=26214" in pacat.arguments[0], "80 % of the 50 % that the options allow"
    device.upload("play_raw", b"\1\0", "room", 100, 48000, 1)
    assert pacat.arguments[1][2:] == (
        "--device=@DEFAULT_SINK@", "--format=s16le", "--rate=48000", "--channels=1", "--latency-msec=100",
        "--volume=65536",
    )  # fmt: skip


def test_what_is_wrong_is_one_sentence(device: SynchronousComponent, pacat: Pacat) -> None:
    for data, sentence in [(b"", "ends before"), (b"x" * 100, "no WAV"), (wav(bytes(16_002)), "longer than 1 s")]:
        with pytest.raises(InvalidArgument, match=f"sound: .*{sentence}"):
            device.upload("play", data, "room", 1)
    with pytest.raises(NotFound):
        device.upload("play", wav(b"ab"), "hall", 1, caller="client/eve")
    pacat.status = 1
    with pytest.raises(Unavailable, match="Connection refused"):
        device.upload("play", wav(b"ab"), "room", 1)
    with pytest.raises(Unavailable, match="Connection refused"):
        list(device.stream("record", "ear"))
    assert [one["waiting"] for one in device.call("list", caller="client/eve") if one["kind"] == "output"] == [0]


def test_one_sound_at_a_time_a_bounded_queue_and_who_may_end_it(pacat: Pacat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sound, "program", lambda self, *words: pacat(*words))
    pacat.goes_on.clear()
    asyncio.run(take_turns(pacat))


async def take_turns(pacat: Pacat) -> None:
    async with running(Sound, options=OPTIONS) as device:

        def play() -> asyncio.Future[Any]:
            return asyncio.ensure_future(device.upload("play", wav(b"ab"), "room", 1, caller="client/anna"))

        players = [play() for _ in range(3)]
        while (await device.call("list"))[0]["waiting"] < 2:
            await asyncio.sleep(0)
        with pytest.raises(Busy, match="2 sounds of one caller wait"):
            await play()
        with pytest.raises(Denied, match="the sound is of client/anna"):
            await device.call("silence", "room", caller="client/eve")
        assert await device.call("silence", "room", caller="client/anna") is True
        pacat.goes_on.set()
        answers = await asyncio.gather(*players)
        assert [one["stopped_by"] for one in answers] == ["client/anna", None, None]


def test_an_upload_that_never_ends_lets_go_of_the_output(pacat: Pacat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sound, "program", lambda self, *words: pacat(*words))
    monkeypatch.setattr(sound, "SLACK_S", 0.1)
    pacat.goes_on.clear()
    with running_sync(Sound, options={**OPTIONS, "play_s": 0.1}) as device:
        with pytest.raises(DeadlineExceeded, match="comes too slowly"):
            device.upload("play", wav(b"ab"), "room", 1)
        assert device.call("list")[0]["playing"] is None


def test_an_upload_that_stalls_can_be_silenced(pacat: Pacat, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its format is known, and after; whoever waits for the output has it then."""
    monkeypatch.setattr(Sound, "program", lambda self, *words: pacat(*words))
    asyncio.run(stall(b""))
    asyncio.run(stall(wav(b"abcd")[:46]))


async def stall(data: bytes) -> None:
    never = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield data
        await never.wait()

    async with running(Sound, options=OPTIONS) as device:
        stalled = asyncio.ensure_future(device.upload("play", pieces(), "room", 1))
        while (await device.call("list"))[0]["playing"] is None:
            await asyncio.sleep(0)
        assert await device.call("silence", "room") is True
        assert (await stalled)["stopped_by"]
        assert (await device.upload("play", wav(b"ab"), "room", 1))["stopped_by"] is None


def test_a_recording_comes_in_pieces_with_levels(device: SynchronousComponent, pacat: Pacat) -> None:
    pacat.gives = bytes(100_000)
    items = list(device.stream("record", "ear", seconds=0.25, rate=8000))
    assert [len(one["data"]) for one in items] == [1600, 1600, 800]
    assert [one["at_s"] for one in items] == [0, 0.1, 0.2]
    assert items[0]["peak_db"] == LEAST_DB


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "name 1 to 16"),
        ({"outputs": {"a": {}}, "inputs": {"a": {}}}, "each once"),
        ({"outputs": {"A b": {}}}, "is no name"),
        ({"outputs": {"a": {"server": "unix:/run/x"}}}, "write HOST:PORT"),
        ({"outputs": {"a": {"device": "x --file=/etc/shadow"}}}, "name of a sink"),
    ],
)
def test_wrong_options_keep_it_from_its_start(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence), running_sync(Sound, options=options):
        pass
    assert DeviceOptions().problem == ""
