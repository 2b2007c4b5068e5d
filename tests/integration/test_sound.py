"""Sound as an operator adds it, in the full sandbox, on a real PipeWire with a null sink: the tone comes back."""

from __future__ import annotations

import array
import io
import itertools
import math
import statistics
import threading
import time
import wave
from collections.abc import Generator, Iterator
from typing import Any

import psutil
import pytest
from hosts.running_host import RunningHost, free_port, running
from hosts.sound_server import SoundServer

from tlsrt import Busy, Client, Denied, InvalidArgument, NotFound, Unavailable

SOUND, PROCESS = "third/sound", "third.sound"
RATE = 16000


def tone(hertz: float, seconds: float, amplitude: int = 12000) -> bytes:
    count = round(RATE * seconds)
    return array.array(
        "h", [round(amplitude * math.sin(2 * math.pi * hertz * at / RATE)) for at in range(count)]
    ).tobytes()


def wav(samples: bytes, rate: int = RATE, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples)
    return file.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoundServer]:
    server = SoundServer(tmp_path_factory.mktemp("sound"), free_port())
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, server: SoundServer) -> Iterator[RunningHost]:
    at = f"127.0.0.1:{server.port}"
    outputs = f"outputs={{room: {{server: '{at}', device: out}}, half: {{server: '{at}', device: out, volume: 50}}}}"
    inputs = f"inputs={{ear: {{server: '{at}', device: out.monitor}}}}"
    for host in running(request, clients=["kiosk"]):
        words = ["--option", outputs, "--option", inputs, "--option", "play_s=5", "--option", "record_s=20"]
        words += ["--needs", f'programs.pacat.egress=[{{to: ["{at}"], why: the sound server of this host}}]']
        words += ["--allow", "client/kiosk: [list, play, silence]", "--allow", 'client/admin: "*"']
        added = host.cli("component", "add", SOUND, "--yes", *words)
        assert added.returncode == 0, added.stderr
        yield host


@pytest.fixture
def client(host: RunningHost) -> Client:
    return host.client()


def recording(client: Client, seconds: float, **options: Any) -> Generator[dict[str, Any], None, None]:
    yield from client.stream(SOUND, "record", "ear", seconds=seconds, rate=RATE, **options)


def heard_of(client: Client, output: str, sound: bytes, volume: int = 100) -> array.array[int]:
    """Play a sound and return what is heard of it, without the silence around it."""
    heard = recording(client, 10)
    next(heard)  # it has begun
    answers: list[Any] = []
    player = threading.Thread(target=lambda: answers.append(client.upload(SOUND, "play", sound, output, volume)))
    player.start()
    samples, loud = array.array("h"), False
    for one in heard:
        if one["peak_db"] > -60:
            loud = True
            samples.frombytes(one["data"])
        elif loud:
            break
    heard.close()
    player.join()
    assert answers and answers[0]["stopped_by"] is None, answers
    first = next(at for at, value in enumerate(samples) if abs(value) > 50)
    last = next(at for at in range(len(samples) - 1, 0, -1) if abs(samples[at]) > 50)
    return samples[first : last + 1]


def frequency(samples: array.array[int]) -> float:
    return RATE * sum(1 for one, two in itertools.pairwise(samples) if one < 0 <= two) / len(samples)


def until(client: Client, name: str, **wanted: Any) -> dict[str, Any]:
    end = time.monotonic() + 30
    while True:
        found: dict[str, Any] = next(one for one in client.call(SOUND, "list") if one["name"] == name)
        if all(found[key] == value for key, value in wanted.items()):
            return found
        assert time.monotonic() < end, found


def test_a_tone_is_played_and_comes_back(client: Client) -> None:
    samples = heard_of(client, "room", wav(tone(880, 1)))
    assert 875 < frequency(samples) < 885, frequency(samples)
    assert 0.95 < len(samples) / RATE < 1.1, len(samples) / RATE
    assert 11000 < max(samples) < 13000


def test_the_options_bound_the_volume(client: Client) -> None:
    """Half of the slider is an eighth of the amplitude, as PulseAudio has it (cubic)."""
    assert 1300 < max(heard_of(client, "half", wav(tone(440, 0.5)))) < 1700
    assert 1300 < max(heard_of(client, "room", wav(tone(440, 0.5)), volume=50)) < 1700


def test_one_at_a_time_and_it_can_be_silenced(host: RunningHost, client: Client) -> None:
    long, answers = wav(tone(300, 4, 100)), list[Any]()
    players = [
        threading.Thread(target=lambda: answers.append(client.upload(SOUND, "play", long, "room", 10)))
        for _ in range(2)
    ]
    for one in players:
        one.start()
    until(client, "room", playing="client/admin", waiting=1)
    with host.client("kiosk") as kiosk:
        with pytest.raises(Denied, match="the sound is of client/admin"):
            kiosk.call(SOUND, "silence", "room")
        for number in range(2):
            assert client.call(SOUND, "silence", "room") is True
            until(client, "room", playing=None if number else "client/admin", waiting=0)
    for one in players:
        one.join()
    assert [one["stopped_by"] for one in answers] == ["client/admin"] * 2
    assert client.call(SOUND, "silence", "room") is False


def test_what_is_no_sound_or_too_long_is_refused(client: Client) -> None:
    for data, sentence in [
        (b"", "it ends before its samples"),
        (b"ID3" + bytes(5000), "it is no WAV file"),
        (wav(bytes(6 * 2 * 8000), 8000), "it is longer than 5 s"),
        (wav(bytes(100), 4000), "4000 samples a second"),
    ]:
        with pytest.raises(InvalidArgument, match=sentence):
            client.upload(SOUND, "play", data, "room", 0)
    with pytest.raises(InvalidArgument, match="20 s long at most"):
        list(client.stream(SOUND, "record", "ear", seconds=21))
    for name in ("@DEFAULT_SINK@", "out", "--help", "/etc/passwd", "room --device=x"):
        with pytest.raises(NotFound):
            client.upload(SOUND, "play", wav(b"\0\0"), name, 10)


def test_a_meter_and_its_bounds(client: Client) -> None:
    levels = list(client.stream(SOUND, "record", "ear", seconds=0.5, data=False))
    assert [round(one["at_s"], 1) for one in levels] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert all(one["peak_db"] < -90 and "data" not in one for one in levels)
    two = [recording(client, 10) for _ in range(2)]
    for one in two:
        next(one)
    with pytest.raises(Busy, match="2 recordings of one caller"):
        next(recording(client, 1))
    for one in two:
        one.close()
    until(client, "ear", recorders=0)


def test_figures_and_no_refused_call(host: RunningHost, client: Client) -> None:
    took = []
    silence = wav(b"\0\0")
    for _ in range(20):
        began = time.perf_counter()
        client.upload(SOUND, "play", silence, "room", 10)
        took.append(1000 * (time.perf_counter() - began))
    listed = []
    for _ in range(200):
        began = time.perf_counter()
        client.call(SOUND, "list")
        listed.append(1000 * (time.perf_counter() - began))
    print(f"play of one sample: p50 {statistics.median(took):.0f} ms, most {max(took):.0f} ms")
    cuts = statistics.quantiles(listed, n=100)
    print(f"list: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")
    loop = host.loop(PROCESS)
    print(f"memory: {psutil.Process(loop['pid']).memory_full_info().pss / (1 << 20):.1f} MiB (PSS)")
    assert loop["violations"] == 0


def test_a_server_that_goes_and_comes(client: Client, server: SoundServer) -> None:
    heard = recording(client, 15)
    next(heard)
    server.end()
    with pytest.raises(Unavailable, match="the sound server records nothing"):
        list(heard)
    with pytest.raises(Unavailable, match=r"the sound server does not play: .*refused"):
        client.upload(SOUND, "play", wav(tone(440, 0.5)), "room", 10)
    server.start()
    assert client.upload(SOUND, "play", wav(tone(440, 0.2)), "room", 10)["played_s"] == 0.2
