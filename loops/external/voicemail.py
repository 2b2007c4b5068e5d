"""The answering machine: rung by external/calls when no one takes a call, it records and leaves a message.

What is said after the tone is on the disk a second later, and with the two tones at the end all of it is. It goes to
the mailboxes of the number by external/messages, as sound, and in words if secondary/speech writes them down.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from tlsrt import Busy, CallError, Component, Length, Pattern, Range, database, handler
from tlsrt.loops.external import voicemail_tables
from tlsrt.loops.external.call_ear import CallEar
from tlsrt.loops.external.call_leg import ANSWER, SILENCE, Pace, sound
from tlsrt.loops.external.call_recording import BYTES_PER_S, Recording
from tlsrt.loops.external.call_sound import tone
from tlsrt.loops.external.call_voice import spoken
from tlsrt.loops.external.voicemail_delivery import VoicemailDelivery
from tlsrt.loops.external.voicemail_tables import About

GREETING = "No one can take your call. Please say your message after the tone."
CALLS, WAITING = 4, 16  # at once, and recordings that are not delivered yet
GREETED_S = 5.0  # within which a greeting begins to be spoken
_PART_S = 1.0
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_BEGIN = tone(1000, 0.4)
_END = [*tone(800, 0.12), *tone(600, 0.16), *[SILENCE] * 10]  # silence: what is not sent yet is not heard at the end


@dataclass(frozen=True, kw_only=True)
class BoxOptions:
    """What is said at one number, and who gets what is said there."""

    to: Annotated[list[str], Length(16, 1), "Who gets a message, as for `send` of external/messages."]
    greeting: Annotated[str, Length(500), "What is spoken before the tone; empty for the tone alone."] = GREETING
    voice: Annotated[
        str, Pattern(re.compile("[a-z]{2,3}(-[a-z0-9]{1,8}){0,3}"), "a voice of espeak-ng"), Length(32, 2)
    ] = "en"
    language: Annotated[str, Pattern(re.compile("[a-z]{2,3}"), "a language"), Length(3, 2), "Of what is said."] = "en"


class Voicemail(Component):
    """Takes the calls that no one takes."""

    @dataclass(frozen=True)
    class Options:
        """Options: the numbers, and how long a message is."""

        boxes: Annotated[dict[str, BoxOptions], Length(64), "By the number of external/calls."] = field(
            default_factory=dict[str, BoxOptions]
        )
        message_s: Annotated[float, Range(1, 120), "The longest message, seconds."] = 60.0
        quiet_s: Annotated[float, Range(1, 60), "A message is over when nothing was said for so long, seconds."] = 5.0
        quiet_db: Annotated[float, Range(-96, 0), "What is less loud is silence, dB of full scale."] = -45.0

        def __post_init__(self) -> None:
            for name in self.boxes:
                if not _NAME.fullmatch(name):
                    raise ValueError(f"boxes: {name!r} is no number of external/calls: write a-z, 0-9, _ and -")

    db = database(steps=voicemail_tables.STEPS)

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    async def start(self) -> None:
        self._live: dict[str, int] = {}  # call: number of its recording
        self._greetings: dict[str, list[bytes]] = {}  # that were spoken once
        self._delivery = VoicemailDelivery(self, self.db, self.options.boxes, self._live.__contains__)
        self.spawn(self._delivery.run, name="delivery")

    async def healthy(self) -> str | None:
        return await self.db.check() or self._delivery.trouble or None

    @handler(idempotent=True)
    async def waiting(self) -> dict[str, Any]:
        """Recordings that are not in all mailboxes yet: call, by, number, began_ms, seconds; and why they wait."""
        found = await self.db.query(voicemail_tables.kept)
        return {
            "why": self._delivery.trouble or None,
            "recordings": [
                {
                    "call": one.about.call, "by": one.about.by, "number": one.about.number,
                    "began_ms": one.about.began_ms, "seconds": round(one.bytes / BYTES_PER_S, 1),
                    "is_live": one.about.call in self._live,
                }
                for one in found
            ],
        }  # fmt: skip

    @handler
    async def take_call(
        self, id: str, by: str, says: str, number: str, heard: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Record what is said after the tone, until `#` is pressed, nothing is said any more, or it is long enough."""
        box = self.options.boxes.get(number)
        if box is None:
            self.log.warning("call %s: the option boxes has no %r", id, number)
            return
        about = About(id, by, says, number, self.wall_ms())
        recording = Recording(self.options.message_s, self.options.quiet_s, self.options.quiet_db)
        kept = await self._begin(about)
        try:
            async with CallEar(heard) as ear:
                yield ANSWER
                pace = Pace()
                async for pcm in self._greeting(box):
                    if ear.is_over or ear.keys:
                        break
                    await pace.wait()
                    yield sound(pcm)
                for at, pcm in enumerate(_BEGIN, 1):
                    await pace.wait()
                    if at == len(_BEGIN):
                        ear.listen()  # now, or the first word may be lost
                    yield sound(pcm)
                while await ear.record(recording, _PART_S):
                    await self._keep(kept, recording)
                await self._keep(kept, recording)
                for pcm in [] if ear.is_over else _END:
                    await pace.wait()
                    yield sound(pcm)
        finally:
            self._end(id, kept, recording)

    async def _begin(self, about: About) -> int:
        """Keep a recording that begins; return its number. Raises Busy."""
        if len(self._live) >= CALLS:
            raise Busy(f"{CALLS} calls are recorded at once")
        if len(await self.db.query(voicemail_tables.kept)) >= WAITING:
            raise Busy(f"{WAITING} recordings wait to be delivered: {self._delivery.trouble or 'soon'}")
        self._live[about.call] = 0  # before it is on the disk, where it would seem to be one that has ended
        try:
            number = await self.db.transaction(voicemail_tables.begin, about)
        except BaseException:
            del self._live[about.call]
            raise
        self._live[about.call] = number
        self.count("taken")
        return number

    async def _greeting(self, box: BoxOptions) -> AsyncIterator[bytes]:
        """Yield the greeting; what was spoken once is known. Without secondary/speech there is the tone alone."""
        if not box.greeting:
            return
        key = f"{box.voice} {box.greeting}"
        if key not in self._greetings:
            try:
                async with asyncio.timeout(GREETED_S):
                    self._greetings[key] = [pcm async for pcm in spoken(self, box.greeting, box.voice)]
            except (CallError, TimeoutError) as error:
                self.log.warning("no greeting: %s", getattr(error, "message", "it took too long"))
                return
        for pcm in self._greetings[key]:
            yield pcm

    async def _keep(self, kept: int, recording: Recording) -> None:
        if samples := recording.take():
            await self.db.transaction(voicemail_tables.add, kept, samples, recording.loud_s)

    def _end(self, call: str, kept: int, recording: Recording) -> None:
        """Have it delivered, with what was heard at last: the call may have been cut off."""

        async def finish() -> None:
            try:
                await self._keep(kept, recording)
            except CallError as error:
                self.log.warning("the last second of call %s is lost: %s", call, error.message)
            finally:
                del self._live[call]
                self._delivery.wake()

        self.spawn(finish(), name="end", restart=False)
