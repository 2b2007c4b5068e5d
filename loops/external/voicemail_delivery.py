"""Delivery of recordings: written down if that can be, and sent to each mailbox under an id that is always the same.

A recording stays on the disk until all who are to have it have it. So what was recorded arrives, also when this
process, that of the messages or the host dies meanwhile, and no one gets it twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple, Protocol

from tlsrt import CallError, Component, Database
from tlsrt.loops.external import voicemail_tables
from tlsrt.loops.external.call_recording import BYTES_PER_S
from tlsrt.loops.external.call_sound import HEARD_RATE, wav_file
from tlsrt.loops.external.call_voice import SPEECH
from tlsrt.loops.external.voicemail_tables import Kept

MESSAGES = "external/messages"
TOPIC, FILE = "voicemail", "message.wav"
LEAST_LOUD_S = 0.3  # in which something was to be heard; below, nothing was said
HEARINGS = 3  # how often it is tried to write one down
_PAUSE_S, _PAUSE_MOST_S = 2.0, 300.0
_PART_BYTES = 128 * 1024
_TRIED_S = 120.0


class Mailboxes(Protocol):
    """Who gets what is said at one number."""

    @property
    def to(self) -> Sequence[str]: ...
    @property
    def language(self) -> str: ...


class Heard(NamedTuple):
    """What was said, and why it could not be written down."""

    words: str
    wrong: str = ""


class VoicemailDelivery:
    """Delivers what is on the disk, one after the other, for ever. `is_live` tells of a call that still goes on."""

    def __init__(
        self, component: Component, db: Database, boxes: Mapping[str, Mailboxes], is_live: Callable[[str], bool]
    ) -> None:  # fmt: skip
        self.trouble = ""  # why something waits
        self._component, self._db, self._boxes, self._is_live = component, db, boxes, is_live
        self._has_more = asyncio.Event()
        self._hearings: dict[str, int] = {}

    def wake(self) -> None:
        """Look now: there is something to be delivered."""
        self._has_more.set()

    async def run(self) -> None:
        """Deliver, for ever."""
        failures = 0
        while True:
            self._has_more.clear()
            is_done = await self._deliver_all()
            failures = 0 if is_done else failures + 1
            if not failures:
                await self._has_more.wait()
                continue
            try:
                async with asyncio.timeout(min(_PAUSE_MOST_S, _PAUSE_S * 2 ** min(failures - 1, 10))):
                    await self._has_more.wait()
            except TimeoutError:
                pass

    async def _deliver_all(self) -> bool:
        """Try each once; return whether all are delivered."""
        wrong = ""
        for one in await self._db.query(voicemail_tables.kept):
            if self._is_live(one.about.call):
                continue
            try:
                wrong = await self._deliver(one) or wrong
            except CallError as error:
                wrong = error.message
        if wrong and wrong != self.trouble:
            self._component.log.warning("a recording waits: %s", wrong)
        self.trouble = wrong
        return not wrong

    async def _deliver(self, one: Kept) -> str:
        """Deliver one and forget it; return why it could not be. Raises CallError."""
        box = self._boxes.get(one.about.number)
        if box is None:
            return f"the option boxes has no {one.about.number!r} any more, for which {one.about.by} left a message"
        if one.loud_s < LEAST_LOUD_S:
            await self._db.transaction(voicemail_tables.forget, one.number)
            self._component.count("empty")
            return ""
        samples = await self._db.query(voicemail_tables.samples_of, one.number)
        heard = await self._written_down(one, samples, box.language)
        if heard is None:
            return f"{SPEECH} does not answer"
        file = wav_file(samples, HEARD_RATE)
        about = FILE, len(file), hashlib.sha256(file).hexdigest()
        begun = await self._component.call(MESSAGES, "begin_put", *about)
        if not begun["done"]:
            rest = _parts(file[begun["offset"] :])
            await self._component.upload(MESSAGES, "go_on_put", rest, *about, begun["offset"], timeout_s=_TRIED_S)
        attached = [dict(zip(("name", "size", "sha256"), about, strict=True))]
        text, wrong = message_text(one, heard), ""
        for to in box.to:
            id = hashlib.sha256(f"{one.about.call} {to}".encode()).hexdigest()[:32]
            try:
                await self._component.call(
                    MESSAGES, "send", to, text, topic=TOPIC, priority=6, attachments=attached, id=id
                )
            except CallError as error:  # the others get theirs
                wrong = f"{to}: {error.message}"
        if not wrong:
            await self._db.transaction(voicemail_tables.forget, one.number)
            self._hearings.pop(one.about.call, None)
            self._component.count("delivered")
        return wrong

    async def _written_down(self, one: Kept, samples: bytes, language: str) -> Heard | None:
        """Return what was said, with the reason if that is not known; None while it is to be tried again."""
        words: list[str] = []
        hearing = self._component.exchange(
            SPEECH, "transcribe_raw", _parts(samples), language, HEARD_RATE, 1, timeout_s=_TRIED_S
        )
        try:
            async with aclosing(hearing) as segments:  # type: ignore[type-var]
                async for segment in segments:
                    words.append(segment["text"].strip())
        except CallError as error:
            tried = self._hearings[one.about.call] = self._hearings.get(one.about.call, 0) + 1
            return Heard(" ".join(words), error.message) if tried >= HEARINGS else None
        return Heard(" ".join(filter(None, words)))


def message_text(one: Kept, heard: Heard) -> str:
    """Return what a message says of a recording."""
    about = one.about
    name = f" ({about.says})" if about.says else ""
    begin = (
        f"{about.by}{name} rang {about.number}, was not answered, and left a message of {one.bytes / BYTES_PER_S:.0f} s"
    )
    if heard.words:
        return f"{begin}: {heard.words}"
    if heard.wrong:
        return f"{begin}. It is not written down ({heard.wrong}): listen to {FILE}."
    return f"{begin}. No words were understood: listen to {FILE}."


async def _parts(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), _PART_BYTES):
        yield data[at : at + _PART_BYTES]
