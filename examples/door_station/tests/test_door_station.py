"""The door station without a host: who answers, who does not, and what fails."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from door_station import DoorStation

from tlsrt import Unavailable
from tlsrt.loops.external.call_leg import ANSWER, PIECE_BYTES, sound
from tlsrt.testing import running

JPEG = b"\xff\xd8 a visitor"
LOUD, QUIET = -20.0, -90.0


class Camera:
    async def snapshot(self, source: str) -> dict[str, Any]:
        return {"data": JPEG}


class Dark:
    async def snapshot(self, source: str) -> dict[str, Any]:
        raise Unavailable("the camera is away")


class Sound:
    """Says three pieces, then silence; keeps what is played."""

    def __init__(self) -> None:
        self.played: list[bytes] = []
        self.has_played = asyncio.Event()

    async def record(self, input: str, seconds: float, rate: int) -> AsyncIterator[dict[str, Any]]:
        for number in range(int(seconds * 10)):
            await asyncio.sleep(0)
            yield {"data": bytes([number % 3]) * (rate // 5), "rms_db": LOUD if number < 3 else QUIET}

    async def play(self, output: str, volume: int, sound: AsyncIterator[bytes]) -> None:
        self.played.append(b"".join([part async for part in sound]))

    async def play_raw(self, output: str, volume: int, rate: int, channels: int, sound: AsyncIterator[bytes]) -> None:
        async for part in sound:
            self.played.append(part)
            self.has_played.set()


class Speech:
    def __init__(self) -> None:
        self.heard = b""

    async def speak(self, text: str) -> AsyncIterator[bytes]:
        yield b"RIFF "
        yield text.encode()

    async def transcribe_raw(
        self, language: str, rate: int, channels: int, sound: AsyncIterator[bytes]
    ) -> AsyncIterator[dict[str, Any]]:
        self.heard = b"".join([part async for part in sound])
        yield {"text": " I have a parcel"}
        yield {"text": "for you. "}


class Calls:
    """Answers, hears a piece, says one, and hangs up once that is played; or does not answer."""

    def __init__(self, sound: Sound, answers: bool) -> None:
        self._sound = sound
        self._answers = answers
        self.heard = b""

    async def dial(self, number: str, says: str, said: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if not self._answers:
            raise Unavailable("no one has answered")
        yield ANSWER
        async for piece in said:
            self.heard = piece
            break
        yield sound(b"\x01\x02" * (PIECE_BYTES // 2))
        await self._sound.has_played.wait()


class Messages:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.sent: list[dict[str, Any]] = []

    async def begin_put(self, name: str, size_bytes: int, sha256: str) -> dict[str, Any]:
        return {"offset": 0, "done": name in self.files}

    async def go_on_put(self, name: str, size_bytes: int, sha256: str, offset: int, data: AsyncIterator[bytes]) -> None:
        self.files[name] = b"".join([part async for part in data])

    async def send(self, to: str, body: str, **more: Any) -> dict[str, Any]:
        self.sent.append({"to": to, "body": body, **more})
        return {}


def peers(*, answers: bool, camera: object | None = None) -> dict[str, Any]:
    sound = Sound()
    return {
        "third/camera": camera or Camera(), "third/sound": sound, "secondary/speech": Speech(),
        "external/calls": Calls(sound, answers), "external/messages": Messages(), "third/input": object(),
    }  # fmt: skip


def visited(given: dict[str, Any], *, see: Callable[[DoorStation], None] = lambda _: None) -> dict[str, Any]:
    """Let someone ring once; return the message that the family gets."""

    async def visit() -> None:
        options = {"to": ["client/anna"], "message_s": 5.0, "quiet_s": 1.0}
        async with running(DoorStation, options=options, address="third/door", peers=given) as it:
            await it.component.visit()
            see(it.component)

    asyncio.run(visit())
    (message,) = given["external/messages"].sent
    return message


def test_the_family_answers_and_both_hear() -> None:
    given = peers(answers=True)
    message = visited(given)
    assert message["body"].startswith("Someone was at the door, and talked with one of you for ")
    assert given["external/calls"].heard == sound(bytes(PIECE_BYTES))
    assert given["third/sound"].played == [b"\x01\x02" * (PIECE_BYTES // 2)]
    digest = hashlib.sha256(JPEG).hexdigest()
    assert message["attachments"] == [{"name": "door.jpg", "size": len(JPEG), "sha256": digest}]
    assert given["external/messages"].files == {"door.jpg": JPEG}


def test_if_no_one_answers_the_message_is_what_was_said_until_it_is_quiet() -> None:
    given = peers(answers=False)
    assert visited(given)["body"] == "Someone was at the door. They said: I have a parcel for you."
    assert given["third/sound"].played[0].startswith(b"RIFF No one is at home.")
    assert len(given["secondary/speech"].heard) == 13 * 3200  # three pieces, and ten of silence


@pytest.mark.parametrize("lacking", ["third/sound", "secondary/speech", "external/calls"])
def test_what_is_not_there_is_left_out(lacking: str) -> None:
    given = peers(answers=False, camera=Dark())
    given[lacking] = object()
    message = visited(given)
    assert message["attachments"] == []
    wanted = "They said" if lacking == "external/calls" else "said nothing"
    assert wanted in message["body"]


def test_a_bell_that_is_pressed_again_during_a_visit_begins_no_other() -> None:
    def see(door: DoorStation) -> None:
        door._is_busy = True
        door.press()
        assert not door._is_pressed.is_set()
        door._is_busy = False
        door.press()
        assert door._is_pressed.is_set()

    visited(peers(answers=False), see=see)
