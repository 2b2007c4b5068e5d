"""The answering machine without a host: what ends a recording, what is delivered, and what waits."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tlsrt import Busy, ConfigError, InvalidArgument, Unavailable
from tlsrt.loops.external import voicemail, voicemail_delivery
from tlsrt.loops.external.call_leg import ANSWER, PIECE_BYTES, SILENCE, digit, sound
from tlsrt.loops.external.call_recording import Recording
from tlsrt.loops.external.call_sound import tone, wav_file
from tlsrt.loops.external.voicemail import CALLS, WAITING, Voicemail
from tlsrt.loops.external.voicemail_delivery import HEARINGS
from tlsrt.loops.external.voicemail_tables import About
from tlsrt.testing import running

NEEDS = {"state_mb": 64}
OPTIONS: dict[str, Any] = {"boxes": {"home": {"to": ["client/anna", "group/all"], "greeting": "Hello."}}, "quiet_s": 1}
VOICE = tone(300, 1.0)  # 50 pieces
ABOUT = About("1", "client/ben", "", "home", 1)


class Speech:
    def __init__(self, *, words: str = "a parcel", fails: int = 0) -> None:
        self.words, self.fails, self.heard = words, fails, b""

    async def speak(self, text: str, voice: str) -> AsyncIterator[bytes]:
        yield wav_file(b"\1\0" * 4410, 22050)

    async def transcribe_raw(
        self, language: str, rate: int, channels: int, sound: AsyncIterator[bytes]
    ) -> AsyncIterator[dict[str, Any]]:
        self.heard = b"".join([part async for part in sound])
        if self.fails:
            self.fails -= 1
            raise Unavailable("the model is away")
        if self.words:
            yield {"text": f" {self.words} "}


class Messages:
    """The other side of `send`: what has an id again is the same message."""

    def __init__(self, *, fails: int = 0, refuses: str = "") -> None:
        self.fails, self.refuses = fails, refuses
        self.files: dict[str, bytes] = {}
        self.sent: dict[str, dict[str, Any]] = {}
        self.calls = 0

    async def begin_put(self, name: str, size_bytes: int, sha256: str) -> dict[str, Any]:
        if self.fails:
            self.fails -= 1
            raise Unavailable("the mailboxes are away")
        return {"offset": 0, "done": sha256 in self.files}

    async def go_on_put(self, name: str, size_bytes: int, sha256: str, offset: int, data: AsyncIterator[bytes]) -> None:
        self.files[sha256] = b"".join([part async for part in data])

    async def send(self, to: str, body: str, *, id: str, **more: Any) -> dict[str, Any]:
        self.calls += 1
        if to == self.refuses:
            raise InvalidArgument("there is no such group")
        self.sent.setdefault(id, {"to": to, "body": body, **more})
        return {}


def machine(speech: object, messages: object, **more: Any) -> Any:
    peers = {"secondary/speech": speech, "external/messages": messages}
    return running(Voicemail, options={**OPTIONS, **more}, needs=NEEDS, peers=peers, address="external/voicemail")


class speaks:  # read as what one does
    """Says nothing until the tone has ended, then these pieces, then silence or the end."""

    def __init__(self, *pieces: bytes, hangs_up: bool) -> None:
        self.is_asked = asyncio.Event()
        self._pieces, self._hangs_up = pieces, hangs_up

    async def said(self) -> AsyncIterator[bytes]:
        while not self.is_asked.is_set():
            await asyncio.sleep(0.02)
            yield sound(SILENCE)
        for one in self._pieces:
            yield one
            await asyncio.sleep(0)
        while not self._hangs_up:
            await asyncio.sleep(0)
            yield sound(SILENCE)


async def rings(it: Any, person: speaks, id: str = "1", number: str = "home") -> list[bytes]:
    heard = []
    async with aclosing(it.exchange("take_call", person.said(), id, "client/ben", "the door", number)) as pieces:
        async for piece in pieces:
            heard.append(piece)
            if piece == sound(voicemail._BEGIN[-1]):
                person.is_asked.set()
    return heard


async def until_empty(it: Any) -> None:
    async with asyncio.timeout(20):
        while (await it.call("waiting"))["recordings"]:
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voicemail_delivery, "_PAUSE_S", 0.01)


@pytest.mark.parametrize("end", ["hangs up", "is quiet", "presses #"])
def test_what_is_said_after_the_tone_is_in_each_mailbox(end: str) -> None:
    speech, messages = Speech(), Messages()
    said = [*map(sound, VOICE), *([digit("#")] if end == "presses #" else [])]

    async def run() -> None:
        async with machine(speech, messages) as it:
            heard = await rings(it, speaks(*said, hangs_up=end == "hangs up"))
            assert heard[0] == ANSWER and len(heard) > 25
            await until_empty(it)
            again = await rings(it, speaks(*said, hangs_up=True), id="2")
            assert len(again) > 25
            await until_empty(it)

    asyncio.run(run())
    first, second, *others = messages.sent.values()
    assert {first["to"], second["to"]} == {"client/anna", "group/all"} and len(others) == 2
    assert first["body"].startswith("client/ben (the door) rang home, was not answered, and left a message of ")
    assert first["body"].endswith(" s: a parcel") and first["topic"] == "voicemail"
    file = next(iter(messages.files.values()))
    assert first["attachments"] == [{"name": "message.wav", "size": len(file), "sha256": next(iter(messages.files))}]
    with wave.open(io.BytesIO(file)) as sound_file:
        seconds = sound_file.getnframes() / 16_000
    assert speech.heard and (1.9 if end == "is quiet" else 0.99) < seconds < 3.0, seconds


def test_who_says_nothing_leaves_nothing() -> None:
    messages = Messages()

    async def run() -> None:
        async with machine(Speech(), messages) as it:
            await rings(it, speaks(hangs_up=False))
            await until_empty(it)

    asyncio.run(run())
    assert messages.calls == 0


@pytest.mark.parametrize(
    ("speech", "words"),
    [
        (Speech(fails=HEARINGS - 1), ": a parcel"),
        (Speech(fails=100), "It is not written down (the model is away): listen to message.wav."),
        (Speech(words=""), "No words were understood: listen to message.wav."),
        (object(), "It is not written down ("),
    ],
)
def test_without_words_there_is_the_sound(speech: object, words: str) -> None:
    messages = Messages()

    async def run() -> None:
        async with machine(speech, messages) as it:
            await rings(it, speaks(*map(sound, VOICE), hangs_up=True))
            await until_empty(it)

    asyncio.run(run())
    assert len(messages.files) == 1 and all(words in one["body"] for one in messages.sent.values())


def test_what_waits_is_delivered_once_and_told_meanwhile() -> None:
    messages = Messages(fails=3)

    async def run() -> None:
        async with machine(Speech(), messages) as it:
            await rings(it, speaks(*map(sound, VOICE), hangs_up=True))
            await until_empty(it)
            assert await it.component.healthy() is None
            messages.refuses = "group/all"
            await rings(it, speaks(*map(sound, VOICE), hangs_up=True), id="2")
            async with asyncio.timeout(20):
                while messages.calls < 10:
                    await asyncio.sleep(0.01)
            assert await it.component.healthy() == "group/all: there is no such group"
            found = await it.call("waiting")
            assert found["why"] == "group/all: there is no such group"
            assert [(one["call"], one["by"], one["is_live"]) for one in found["recordings"]] == [
                ("2", "client/ben", False)
            ]
            messages.refuses = ""
            await until_empty(it)

    asyncio.run(run())
    assert sorted(one["to"] for one in messages.sent.values()) == ["client/anna"] * 2 + ["group/all"] * 2


def test_what_was_recorded_when_the_process_died_is_delivered_by_the_next_one(tmp_path: Path) -> None:
    messages = Messages()

    async def run() -> None:
        peers = {"secondary/speech": Speech(), "external/messages": messages}
        made: Any = {"options": OPTIONS, "needs": NEEDS, "peers": peers, "address": "external/voicemail"}
        async with running(Voicemail, state=tmp_path, **made) as it:
            number = await it.component._begin(ABOUT)
            recording = Recording(60, 5, -45)
            for pcm in VOICE:
                recording.hear(pcm)
            await it.component._keep(number, recording)
            it.component._delivery.wake()
            await asyncio.sleep(0.1)
            assert not messages.calls  # the call goes on
        async with running(Voicemail, state=tmp_path, **made) as it:
            await until_empty(it)

    asyncio.run(run())
    assert len(messages.sent) == 2


def test_who_rings_a_number_without_a_box_or_one_too_many_is_not_answered() -> None:
    async def run() -> None:
        async with machine(Speech(), Messages()) as it:
            assert await rings(it, speaks(hangs_up=True), number="other") == []
            for n in range(CALLS):
                await it.component._begin(About(f"live {n}", "client/ben", "", "home", 1))
            with pytest.raises(Busy, match="4 calls are recorded at once"):
                await rings(it, speaks(hangs_up=True))
            it.component._live.clear()
        async with machine(Speech(), Messages(fails=10_000)) as it:
            for n in range(WAITING):
                one = About(f"{n}", "client/ben", "", "home", 1)
                recording = Recording(60, 5, -45)
                for pcm in VOICE:
                    recording.hear(pcm)
                await it.component._keep(await it.component._begin(one), recording)
                it.component._live.clear()
            it.component._delivery.wake()
            with pytest.raises(Busy, match="16 recordings wait to be delivered"):
                await rings(it, speaks(hangs_up=True), id="last")

    asyncio.run(run())


def test_a_recording_ends_by_silence_by_its_length_and_by_no_sound() -> None:
    recording = Recording(most_s=3, quiet_s=1, quiet_db=-45)
    for _ in range(49):
        recording.hear(SILENCE)
    assert not recording.is_over and recording.loud_s == 0
    recording.hear(SILENCE)
    assert recording.is_over
    recording = Recording(most_s=3, quiet_s=1, quiet_db=-45)
    for pcm in VOICE * 2:
        recording.hear(pcm)
    assert not recording.is_over and recording.loud_s == pytest.approx(2, abs=0.1)
    assert len(recording.take()) == 2 * PIECE_BYTES * 50 // 3 and recording.new_s == 0
    recording.hear_nothing(0.5)
    assert not recording.is_over
    recording.hear_nothing(0.5)
    assert recording.is_over
    recording = Recording(most_s=1, quiet_s=1, quiet_db=-45)
    for pcm in VOICE:
        recording.hear(pcm)
    assert recording.is_over


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"boxes": {"Home": {"to": ["client/anna"]}}}, "'Home' is no number"),
        ({"boxes": {"home": {"to": []}}}, "to"),
        ({"boxes": {"home": {"to": ["client/anna"], "voice": "../en"}}}, "voice"),
        ({"boxes": {}, "message_s": 1000}, "message_s"),
    ],
)
def test_a_wrong_option_is_told(options: dict[str, Any], words: str) -> None:
    async def run() -> None:
        async with running(Voicemail, options=options, needs=NEEDS):
            pass

    with pytest.raises((ConfigError, InvalidArgument), match=words):
        asyncio.run(run())
