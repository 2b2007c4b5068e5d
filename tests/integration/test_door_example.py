"""examples/door_station by its README's own commands: a bell, PipeWire, a real Chromium, Whisper."""

from __future__ import annotations

import array
import cmath
import math
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hosts.calling_browser import CallingBrowser
from hosts.calling_host import CALLS, Spoken, until
from hosts.joined_networks import HOST, JoinedNetworks, inside
from hosts.plain_wheels import write_wheel
from hosts.plugged_input import INPUTS, Keys
from hosts.readme_reader import ReadmeReader
from hosts.running_host import RunningHost, free_port
from hosts.sound_server import SoundServer
from tools.extras import need_extra
from tools.programs import need

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="devices are opened by root"),
    pytest.mark.once,
]
EXAMPLE = Path(__file__).parents[2] / "examples" / "door_station"
DOOR, MESSAGES = "third/door", "external/messages"
ENTER = 28
RATE = 16_000
VISITOR, FAMILY = 700, 1500  # hertz


@pytest.fixture(scope="module")
def networks() -> Iterator[JoinedNetworks]:
    networks = JoinedNetworks("door")
    yield networks
    networks.close()


@pytest.fixture(scope="module")
def bell() -> Iterator[Keys]:
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-", dir="/dev"))
    keys = Keys(folder, "bell")
    keys.plug()
    yield keys
    keys.unplug()
    folder.rmdir()


@pytest.fixture(scope="module")
def sound(networks: JoinedNetworks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoundServer]:
    with inside(networks.host):
        server = SoundServer(tmp_path_factory.mktemp("sound"), free_port())
        try:
            server.start()
            yield server
        finally:
            server.end()


@pytest.fixture(scope="module")
def host(
    request: pytest.FixtureRequest, networks: JoinedNetworks, bell: Keys, sound: SoundServer
) -> Iterator[RunningHost]:
    """A host on which the commands of the README were typed, but for `pip install`."""
    at = f"127.0.0.1:{sound.port}"
    replaced = {
        "/dev/input/by-path/platform-gpio-keys-event": str(bell.path), "192.0.2.10": HOST,
        "anna.tlsrt": "var/anna.tlsrt", "for_s: 30": "for_s: 6",
        "examples/door_station --yes": "var/door_station-0.1-py3-none-any.whl --isolated --yes",
        "'to=[client/anna]'": "'to=[client/anna]' --option message_s=12 --option quiet_s=2",
        "{loudspeaker: {}}": f'{{loudspeaker: {{server: "{at}", device: out}}}}',
        "{microphone: {}}": f'{{microphone: {{server: "{at}", device: out.monitor}}}}',
        "play_s=600": f"play_s=600 --needs 'programs.pacat.egress=[{{to: [\"{at}\"], why: a test}}]'",
    }  # fmt: skip
    need_extra("ai-speech,calling", "faster_whisper", "aiortc")
    with inside(networks.host), RunningHost(
        prelude=INPUTS, clients=[],
    ) as made:  # fmt: skip
        reader = ReadmeReader(made, EXAMPLE, replaced)
        sources = {f"door_station/{one.name}": one.read_text() for one in (EXAMPLE / "door_station").glob("*.*")}
        write_wheel(made.folder, "door_station", sources, component=True)
        for service in ("input", "camera", "sound", "speech", "messages", "calls"):
            loop = {"speech": "secondary", "messages": "external", "calls": "external"}.get(service, "third")
            reader.type(f"tlsrt-supervisor component add {loop}/{service}")
        reader.type("tlsrt-supervisor component add examples")
        reader.type("tlsrt-supervisor client add anna")
        failed = request.session.testsfailed
        yield made
        if request.session.testsfailed > failed:
            made.print_logs()


@contextmanager
def playing(networks: JoinedNetworks, sound: SoundServer, pcm: bytes, *, again: bool = False) -> Iterator[None]:
    """Let the visitor speak, into the sink whose monitor is the microphone; `again` and again until the end."""
    words = [need("pacat"), "-p", f"--server=tcp:127.0.0.1:{sound.port}", "--device=out", "--format=s16le",
             f"--rate={RATE}", "--channels=1"]  # fmt: skip
    with inside(networks.host):
        process = subprocess.Popen(words, stdin=subprocess.PIPE)
    voice = process.stdin
    assert voice is not None

    def speak() -> None:  # it is taken as it is heard, two seconds ahead at the most
        with suppress(BrokenPipeError), voice:
            voice.write(pcm)
            while again:
                voice.write(pcm)

    speaking = threading.Thread(target=speak)
    speaking.start()
    try:
        yield
    finally:
        process.kill()
        process.wait()
        speaking.join()


def tone(hertz: float, seconds: float) -> bytes:
    count = round(RATE * seconds)
    return array.array("h", [round(16000 * math.sin(2 * math.pi * hertz * at / RATE)) for at in range(count)]).tobytes()


def strength(samples: array.array[int], hertz: float) -> float:
    """Return the part of a tone in what was heard, 0 to 1."""
    part = sum(one * cmath.exp(-2j * math.pi * hertz * at / RATE) for at, one in enumerate(samples))
    power = sum(one * one for one in samples) * len(samples) / 2
    return abs(part) ** 2 / power if power else 0.0


def rings(host: RunningHost, bell: Keys) -> None:
    until(lambda: "waiting" in host.log("third.door"))
    bell.press(ENTER)


def output(admin: Any) -> dict[str, Any]:
    (found,) = (one for one in admin.call("third/sound", "list") if one["kind"] == "output")
    return dict(found)


def newest(anna: Any) -> dict[str, Any]:
    """Wait for a message and take it."""
    (found,) = until(lambda: anna.call(MESSAGES, "inbox")["messages"], 60)
    message: dict[str, Any] = anna.call(MESSAGES, "read", found["id"])
    path = f"{message['id']}/{message['attachments'][0]['name']}"
    picture = b"".join(anna.stream(MESSAGES, "read_stream", path))
    assert picture.startswith(b"\xff\xd8") and picture.endswith(b"\xff\xd9"), "a JPEG"
    anna.call(MESSAGES, "acknowledge", [message["id"]])
    return message


def test_the_family_and_the_visitor_hear_each_other(
    host: RunningHost, networks: JoinedNetworks, bell: Keys, sound: SoundServer
) -> None:
    with inside(networks.peer):
        browser = CallingBrowser()
    with browser, host.client("anna") as anna:
        waiting = Spoken(anna, "watch")
        waiting.next("waits")
        rings(host, bell)
        told = waiting.next("rings")
        assert (told["by"], told["number"], told["says"]) == (DOOR, "family", "the door")
        taken = Spoken(anna, "answer", told["call"], browser.offer(FAMILY))
        browser.accept(taken.next("answered")["sdp"])
        taken.next("connected")
        with playing(networks, sound, tone(VISITOR, 1), again=True):
            until(lambda: abs(browser.run("loudest()")["hertz"] - VISITOR) < 12)
        with inside(networks.host):
            words = [need("parec"), f"--server=tcp:127.0.0.1:{sound.port}", "--device=out.monitor", "--format=s16le",
                     f"--rate={RATE}", "--channels=1", "--raw"]  # fmt: skip
            with subprocess.Popen(words, stdout=subprocess.PIPE) as recorder:
                heard = recorder.stdout
                assert heard is not None

                def hears() -> bool:
                    return strength(array.array("h", heard.read(RATE)), FAMILY) > 0.5

                until(hears)
                recorder.kill()
        anna.call(CALLS, "hang_up", told["call"])
        message = newest(anna)
    assert message["body"].startswith("Someone was at the door, and talked with one of you for ")
    assert (message["from"], message["topic"]) == (DOOR, "door")


def test_if_no_one_answers_what_the_visitor_says_is_in_the_message(
    host: RunningHost, networks: JoinedNetworks, bell: Keys, sound: SoundServer
) -> None:
    spoken = subprocess.run(
        [need("espeak-ng"), "--stdout", "-v", "en", "-s", "130", "I have a parcel for your neighbour."],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    words = [need("ffmpeg"), "-loglevel", "error", "-i", "-", "-ar", str(RATE), "-ac", "1", "-f", "s16le", "-"]
    pcm = subprocess.run(words, input=spoken, capture_output=True, check=True).stdout
    with host.client("anna") as anna, host.client() as admin:
        before = output(admin)["played"]
        rings(host, bell)
        until(lambda: output(admin)["played"] > before, 60)  # the greeting is over
        with playing(networks, sound, bytes(RATE) + pcm):
            message = newest(anna)
    print(message["body"])
    assert message["body"].startswith("Someone was at the door. They said: ") and "parcel" in message["body"]
