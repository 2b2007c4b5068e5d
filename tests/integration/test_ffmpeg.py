"""The component of the guide that has ffmpeg convert what its callers send, as it is printed there, with a real one."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hosts.running_host import RunningHost, running
from tools.programs import need

from tlsrt.errors import InvalidArgument

pytestmark = pytest.mark.once

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "programs.md"
PACKER = "third/packer"
RATE, SECONDS = 44_100, 60
AU_HEADER = struct.pack(">4s5I", b".snd", 24, 0xFFFFFFFF, 3, RATE, 1)  # Sun audio: 16 bits, the high byte first
SAMPLES = b"".join(struct.pack(">h", step % 20_000 - 10_000) for step in range(RATE)) * SECONDS
PART = 128 << 10


def block(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    package = tmp_path_factory.mktemp("guide") / "packer"
    package.mkdir()
    (package / "__init__.py").write_text(block("python"))
    components = yaml.safe_load(block("yaml"))["components"]
    components[PACKER]["programs"]["ffmpeg"]["run"] = need("ffmpeg")
    policy = {f"client/admin -> {PACKER}": "*"}
    yield from running(request, components=components, policy=policy, packages=[package])


def test_what_a_caller_uploads_is_converted_while_it_comes(host: RunningHost) -> None:
    """More than all buffers on the way hold: the last part is sent when the first of the result is there."""
    begun = threading.Event()
    sound = AU_HEADER + SAMPLES

    def parts() -> Iterator[bytes]:
        *first, last = (sound[at : at + PART] for at in range(0, len(sound), PART))
        yield from first
        assert begun.wait(30)
        yield last

    found = bytearray()
    for chunk in host.client().exchange(PACKER, "wav", parts(), timeout_s=60):
        found += chunk
        begun.set()
    assert found[:4] == b"RIFF" and found[8:12] == b"WAVE"
    swapped = bytearray(len(SAMPLES))
    swapped[::2], swapped[1::2] = SAMPLES[1::2], SAMPLES[::2]
    assert found.endswith(swapped)
    (entry,) = (one for one in host.loop("third.packer")["programs"] if one["name"].endswith("/ffmpeg"))
    assert (entry["begun"], entry["running"]) == (1, [])


def test_what_is_no_sound_is_a_sentence_of_ffmpeg_and_no_empty_result(host: RunningHost) -> None:
    with pytest.raises(InvalidArgument, match=r"no sound: .*Invalid data found"):
        list(host.client().exchange(PACKER, "wav", iter([bytes(PART)] * 20), timeout_s=60))
    assert host.loop("third.packer")["violations"] == 0


def test_a_caller_that_breaks_off_takes_the_program_along(host: RunningHost) -> None:
    ended = threading.Event()

    def parts() -> Iterator[bytes]:
        yield AU_HEADER
        for at in range(0, len(SAMPLES), PART):
            yield SAMPLES[at : at + PART]
        ended.wait(30)  # an upload that never ends

    try:
        client = host.client()
        items = iter(client.exchange(PACKER, "wav", parts(), timeout_s=60))
        assert next(items)
        client.close()
    finally:
        ended.set()
    host.until(
        lambda _: not any(one["running"] for one in host.loop("third.packer")["programs"]), "the end of the program"
    )
