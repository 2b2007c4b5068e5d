"""A door station: who rings is seen, connected with the family, and written down if no one is there."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from tlsrt import CallError, Component, Length, Range
from tlsrt.loops.external.call_leg import PIECE_BYTES, RATE, SOUND, HeardPieces, dial, sound

CALLS, MESSAGES, SPEECH = "external/calls", "external/messages", "secondary/speech"
INPUT, CAMERA, SOUNDS = "third/input", "third/camera", "third/sound"
GREETING = "No one is at home. Please say what you want, and it will be passed on."
PICTURE = "door.jpg"
_SPEECH_RATE = 16_000
_LATE_PIECES = 50  # a second of the family's voice that the loudspeaker may be late
_PAUSE_S = 1.0


@dataclass(frozen=True)
class DoorOptions:
    """Options of the door station."""

    bell: Annotated[str, "The button, a device of third/input."] = "bell"
    key: Annotated[str, "The key that it presses."] = "KEY_ENTER"
    camera: Annotated[str, "The camera, a source of third/camera."] = "door"
    microphone: Annotated[str, "An input of third/sound."] = "microphone"
    loudspeaker: Annotated[str, "An output of third/sound."] = "loudspeaker"
    volume: Annotated[int, Range(0, 100), "Percent."] = 80
    family: Annotated[str, "The number of external/calls that is rung."] = "family"
    to: Annotated[list[str], Length(16, 1), "Who gets a message."] = ("group/family",)  # type: ignore[assignment]
    talk_s: Annotated[float, Range(5, 3600), "The longest call, seconds."] = 180.0
    message_s: Annotated[float, Range(1, 120), "The longest message of a visitor, seconds."] = 20.0
    quiet_s: Annotated[float, Range(0.5, 60), "A message is over when nothing was said for so long, seconds."] = 4.0
    quiet_db: Annotated[float, Range(-96, 0), "What is less loud is silence, dB of full scale."] = -45.0
    language: Annotated[str, Length(8, 2), "Of visitors, for secondary/speech."] = "en"


class DoorStation(Component):
    """Rings the family when the bell is pressed, and leaves them a message with a picture."""

    Options = DoorOptions
    topics = {"visit": "someone has rung: wall_ms, talked_s (null: no one answered), said"}  # noqa: RUF012

    async def start(self) -> None:
        self._is_pressed = asyncio.Event()
        self._is_busy = False
        self.spawn(self.listen)
        self.spawn(self.serve)

    # -- the button -------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Hear the bell, for ever."""
        while True:
            try:
                async for heard in self.stream(INPUT, "listen", self.options.bell):
                    if heard.get("kind") == "key" and (heard["key"], heard["state"]) == (self.options.key, "down"):
                        self.press()
                    elif "is_present" in heard:
                        self.set_status("waiting" if heard["is_present"] else "the bell is not there")
            except CallError as error:
                self.log.info("listens again: %s", error.message)
            await asyncio.sleep(_PAUSE_S)

    def press(self) -> None:
        """Begin a visit; who rings again while one is going on is connected already."""
        self.count("rung")
        if not self._is_busy:
            self._is_pressed.set()

    async def serve(self) -> None:
        """Serve one visitor after the other, for ever."""
        while True:
            await self._is_pressed.wait()
            self._is_pressed.clear()
            self._is_busy = True
            try:
                async with asyncio.timeout(self.options.talk_s + self.options.message_s + 120):
                    await self.visit()
            except (CallError, TimeoutError) as error:
                self.log.warning("a visit was cut off: %s", getattr(error, "message", "it took too long"))
            finally:
                self._is_busy = False

    # -- a visit ----------------------------------------------------------------------------------------------

    async def visit(self) -> None:
        """Connect the visitor with the family, or take a message; then tell the family."""
        now_ms = time.time_ns() // 1_000_000
        picture = await self.picture()
        talked_s = await self.talk()
        said = "" if talked_s is not None else await self.message()
        self.publish("visit", {"wall_ms": now_ms, "talked_s": talked_s, "said": said})
        if talked_s is not None:
            text = f"Someone was at the door, and talked with one of you for {talked_s:.0f} s."
        else:
            text = (
                f"Someone was at the door. They said: {said}" if said else "Someone was at the door and said nothing."
            )
        await self.tell(text, picture)

    async def picture(self) -> bytes | None:
        """Return a picture of who is there, None without one."""
        try:
            frame = await self.call(CAMERA, "snapshot", self.options.camera)
        except CallError as error:
            self.log.warning("no picture: %s", error.message)
            return None
        return bytes(frame["data"])

    async def talk(self) -> float | None:
        """Connect microphone and loudspeaker with the family; return for how long, None if no one answered."""
        heard, voice = HeardPieces(), Voice()
        answered_at: float | None = None
        tasks = [asyncio.ensure_future(self._feed(heard))]
        try:
            async with asyncio.timeout(self.options.talk_s):
                async with aclosing(dial(self, CALLS, self.options.family, heard, says="the door")) as pieces:
                    async for piece in pieces:
                        if answered_at is None:
                            answered_at = time.monotonic()
                            tasks.append(asyncio.ensure_future(self._play(voice)))
                        if piece.kind == SOUND:
                            voice.put(piece.content)
        except TimeoutError:
            self.log.info("the call has lasted for %g s", self.options.talk_s)
        except CallError as error:
            self.log.info("no call: %s", error.message)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return None if answered_at is None else time.monotonic() - answered_at

    async def _feed(self, heard: HeardPieces) -> None:
        """Let the family hear the door."""
        listening = self.stream(SOUNDS, "record", self.options.microphone, self.options.talk_s, rate=RATE)
        try:
            async with aclosing(listening) as items:  # type: ignore[type-var]
                async for item in items:
                    data = item["data"]
                    for at in range(0, len(data), PIECE_BYTES):
                        heard.put(sound(data[at : at + PIECE_BYTES]))
        except CallError as error:
            self.log.warning("the microphone is silent: %s", error.message)

    async def _play(self, voice: Voice) -> None:
        """Let the door hear the family."""
        options = self.options
        try:
            await self.upload(SOUNDS, "play_raw", voice, options.loudspeaker, options.volume, RATE, 1)
        except CallError as error:
            self.log.warning("the loudspeaker is silent: %s", error.message)

    async def message(self) -> str:
        """Ask the visitor for a message; return what was said, as far as it could be understood."""
        options = self.options
        try:
            async with aclosing(self.stream(SPEECH, "speak", GREETING)) as spoken:  # type: ignore[type-var]
                greeting = b"".join([part async for part in spoken])
            await self.upload(SOUNDS, "play", greeting, options.loudspeaker, options.volume)
        except CallError as error:
            self.log.warning("no greeting: %s", error.message)
        words: list[str] = []
        try:
            segments = self.exchange(SPEECH, "transcribe_raw", self._said(), options.language, _SPEECH_RATE, 1)
            async with aclosing(segments) as found:  # type: ignore[type-var]
                words = [one["text"].strip() async for one in found]
        except CallError as error:
            self.log.warning("the message was not understood: %s", error.message)
        return " ".join(words)

    async def _said(self) -> AsyncIterator[bytes]:
        """Yield what the visitor says, until that is over."""
        options = self.options
        quiet = 0  # pieces of 0.1 s
        listening = self.stream(SOUNDS, "record", options.microphone, options.message_s, rate=_SPEECH_RATE)
        async with aclosing(listening) as items:  # type: ignore[type-var]
            async for item in items:
                yield item["data"]
                quiet = quiet + 1 if item["rms_db"] < options.quiet_db else 0
                if quiet >= options.quiet_s * 10:
                    return

    async def tell(self, text: str, picture: bytes | None) -> None:
        """Leave a message for the family, with the picture."""
        attachments = []
        if picture is not None:
            about = {"name": PICTURE, "size_bytes": len(picture), "sha256": hashlib.sha256(picture).hexdigest()}
            begun = await self.call(MESSAGES, "begin_put", **about)
            if not begun["done"]:
                rest = picture[begun["offset"] :]
                await self.upload(MESSAGES, "go_on_put", rest, *about.values(), begun["offset"])
            attachments = [{"name": PICTURE, "size": about["size_bytes"], "sha256": about["sha256"]}]
        for to in self.options.to:
            await self.call(MESSAGES, "send", to, text, topic="door", priority=7, attachments=attachments)
        self.count("told")


class Voice:
    """What the loudspeaker is to say next: the oldest is lost where it is late."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_LATE_PIECES)

    def put(self, pcm: bytes) -> None:
        """Keep 20 ms of sound."""
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(pcm)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._waiting.get()
