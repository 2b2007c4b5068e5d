"""One talk of the assistant: it says, listens, writes down, finds, asks the model, and says the answer. asyncio.

What is said to it becomes a question and nothing else: where it may look is fixed for the number by the options, and
the model is given no tool. When the call ends, the talk is cancelled wherever it is, and the model with it.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Any, Protocol

from tlsrt import CallError, Component
from tlsrt.asking import WantedCall, converse
from tlsrt.loops.external.assistant_period import spoken_period
from tlsrt.loops.external.call_ear import CallEar
from tlsrt.loops.external.call_leg import SILENCE, TEXT_BYTES, Pace, sound, text
from tlsrt.loops.external.call_recording import Recording
from tlsrt.loops.external.call_sound import HEARD_RATE, tone
from tlsrt.loops.external.call_voice import SPEECH, spoken
from tlsrt.loops.external.discovered import plain
from tlsrt.sources import LOGS, SEARCH, Asker, Gathered, Period, logged, period, searched

QUESTIONS = 10  # of one call
QUESTION_CHARS = 1000
QUESTION_S, BEGIN_S, QUIET_S = 20.0, 8.0, 1.5
PASSAGES = 4  # of each place
LEAST_LOUD_S = 0.2
NOT_UNDERSTOOD = "I did not understand that. Please ask again."
BYE = "Good bye."
_BEGIN, _TICK, _REST = tone(1000, 0.2), tone(400, 0.04), [SILENCE] * 10
_TICK_S = 2.0  # between signs that it still thinks
_SENTENCE = re.compile(r"[.!?](?=\s)|\n")
_PART_BYTES = 64 * 1024


class Line(Protocol):
    """A number, and where the assistant may look for those who ring it."""

    @property
    def logs(self) -> bool: ...
    @property
    def audit(self) -> bool: ...
    @property
    def search(self) -> Sequence[str]: ...
    @property
    def since(self) -> str: ...
    @property
    def greeting(self) -> str: ...
    @property
    def voice(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def quiet_db(self) -> float: ...


class _HungUpError(Exception):
    """The other side has hung up."""


class ComponentAsker:
    """Calls as the component does, for sources that a number may have."""

    rights: Mapping[str, Sequence[str]] = {LOGS: ("query", "query_all"), SEARCH: ("search",)}

    def __init__(self, component: Component) -> None:
        self._component = component
        self.subject = component.address

    async def call(
        self, target: str, method: str, /, *args: object, timeout_s: float = 30.0, idempotent: bool = False,
        **kwargs: object,
    ) -> Any:  # fmt: skip
        """As that of a component; what is asked here changes nothing, so it may be repeated anyway."""
        return await self._component.port.call(target, method, args, kwargs, timeout_s=timeout_s, idempotency_key=None)

    async def stream(
        self, target: str, method: str, /, *args: object, timeout_s: float = 30.0, **kwargs: object
    ) -> AsyncGenerator[Any, None]:
        """As that of a component."""
        items = self._component.port.stream(target, method, args, kwargs, timeout_s=timeout_s)
        async with aclosing(items) as closing:  # type: ignore[type-var]
            async for item in closing:
                yield item


class AssistantTalk:
    """Talks with one who rings; `now` is the local time."""

    def __init__(
        self, component: Component, line: Line, ear: CallEar, model: str, tokens: int, now: Callable[[], datetime]
    ) -> None:  # fmt: skip
        self._component, self._line, self._ear = component, line, ear
        self._asker: Asker = ComponentAsker(component)
        self._model, self._tokens, self._now = model, tokens, now
        self._pace = Pace()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what it says, until it or the other side has enough."""
        with suppress(_HungUpError):
            async with aclosing(self._talk()) as pieces:
                async for piece in pieces:
                    yield piece

    async def _talk(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._say(self._line.greeting):
            yield piece
        for _ in range(QUESTIONS):
            async for piece in self._play(_BEGIN[:-1]):
                yield piece
            self._ear.listen()  # before the last of the tone, or the first word may be lost
            async for piece in self._play(_BEGIN[-1:]):
                yield piece
            heard = await self._listen()
            if self._ear.is_over:
                return
            if heard is None:
                break
            async with aclosing(self._answer(heard)) as answer:
                async for piece in answer:
                    yield piece
        async for piece in self._say(BYE):
            yield piece
        async for piece in self._play(_REST):
            yield piece

    # -- saying -----------------------------------------------------------------------------------------------

    async def _play(self, sounds: Sequence[bytes]) -> AsyncIterator[bytes]:
        for pcm in sounds:
            await self._pace.wait()
            yield sound(pcm)

    async def _say(self, words: str) -> AsyncIterator[bytes]:
        """Say something; a key skips the rest of it. Without secondary/speech it is written only."""
        if not words.strip():
            return
        self._ear.keys = ""
        yield text(_bounded(words))
        try:
            async with aclosing(spoken(self._component, words, self._line.voice)) as said:  # type: ignore[type-var]
                async for pcm in said:
                    if self._ear.is_over or self._ear.keys:
                        return
                    await self._pace.wait()
                    yield sound(pcm)
        except CallError as error:
            self._component.log.warning("not spoken: %s", error.message)

    async def _until(self, work: asyncio.Future[Any]) -> AsyncIterator[bytes]:
        """Wait for something, and let a tick be heard now and then. Raises _HungUpError, and ends the work with it."""
        over = asyncio.ensure_future(self._ear.over.wait())
        try:
            while not (await asyncio.wait({work, over}, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED))[0]:
                async for piece in self._play(_TICK):
                    yield piece
            if over.done():
                raise _HungUpError
        finally:
            over.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    # -- hearing ----------------------------------------------------------------------------------------------

    async def _listen(self) -> bytes | None:
        """Return what was said, at 16 kHz; None if that was nothing."""
        recording = Recording(QUESTION_S, QUIET_S, self._line.quiet_db, BEGIN_S)
        await self._ear.record(recording, math.inf)
        self._ear.rest()
        return recording.take() if recording.loud_s >= LEAST_LOUD_S else None

    async def _words(self, samples: bytes) -> str:
        hearing = self._component.exchange(
            SPEECH, "transcribe_raw", _parts(samples), self._line.language, HEARD_RATE, 1, timeout_s=60.0
        )
        async with aclosing(hearing) as segments:  # type: ignore[type-var]
            words = [str(one["text"]).strip() async for one in segments]
        return plain(" ".join(filter(None, words)), QUESTION_CHARS)

    # -- answering --------------------------------------------------------------------------------------------

    async def _answer(self, samples: bytes) -> AsyncGenerator[bytes, None]:
        """Answer what was said, as far as that can be."""
        try:
            understanding = asyncio.ensure_future(self._words(samples))
            async for piece in self._until(understanding):
                yield piece
            question = understanding.result()
            if not question:
                async for piece in self._say(NOT_UNDERSTOOD):
                    yield piece
                return
            yield text(_bounded(f"You: {question}"))
            finding = asyncio.ensure_future(self._found(question))
            async for piece in self._until(finding):
                yield piece
            sources = [one for each in finding.result() for one in each.sources]
            if not sources:
                async for piece in self._say("I have found nothing about that."):
                    yield piece
                return
            async with aclosing(self._sentences(question, finding.result())) as sentences:
                while True:
                    thinking = asyncio.ensure_future(anext(sentences, None))
                    async for piece in self._until(thinking):
                        yield piece
                    if (sentence := thinking.result()) is None:
                        break
                    async for piece in self._say(sentence):
                        yield piece
            for at, one in enumerate(sources, 1):
                yield text(_bounded(f"Source {at} ({one.head}; {one.place}): {one.text}"))
            async for piece in self._say(_named(finding.result())):
                yield piece
            self._component.count("answered")
        except CallError as error:
            self._component.log.warning("a question was not answered: %s", error.message)
            async for piece in self._say(f"I cannot answer now: {error.message[:200]}"):
                yield piece

    async def _found(self, question: str) -> list[Gathered]:
        """Return what the number may know about a question. What is away is told, and is nothing."""
        line, now = self._line, self._now()
        when = spoken_period(question, now, period(line.since, now))
        works = [
            self._logged(question, when, audit=audit)
            for audit, is_on in ((False, line.logs), (True, line.audit))
            if is_on
        ]
        works += [searched(self._asker, question, name, most=PASSAGES) for name in line.search]
        found: list[Gathered] = []
        for one in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(one, CallError):
                self._component.log.warning("not looked through: %s", one.message)
            elif isinstance(one, BaseException):
                raise one
            else:
                found.append(one)
        return found

    async def _logged(self, question: str, when: Period, *, audit: bool) -> Gathered:
        return await logged(self._asker, question, when, audit=audit, most=PASSAGES)

    async def _sentences(self, question: str, found: Sequence[Gathered]) -> AsyncGenerator[str, None]:
        """Yield the answer of the model, as it comes, a sentence at a time."""
        sources = [one for each in found for one in each.sources]
        answer = converse(
            self._asker, question, tools={}, sources=sources, may=_never, target=self._model, tokens=self._tokens
        )
        said = ""
        async with aclosing(answer) as items:
            async for item in items:
                said += str(item.get("text", ""))
                while (end := _SENTENCE.search(said)) is not None:
                    sentence, said = said[: end.end()].strip(), said[end.end() :]
                    if sentence:
                        yield sentence
        if said.strip():
            yield said.strip()


async def _never(wanted: WantedCall) -> bool:
    return False


def _named(found: Sequence[Gathered]) -> str:
    """Return in words on what an answer may stand."""
    sources = [one for each in found for one in each.sources]
    names = dict.fromkeys(one.head.replace("/", " ") for one in sources)
    listed, more = list(names)[:3], len(names) - 3
    count = f"{len(sources)} sources" if len(sources) > 1 else "one source"
    return f"I was given {count}: {'; '.join(listed)}{f'; and {more} more' if more > 0 else ''}."


def _bounded(words: str) -> str:
    return plain(words, TEXT_BYTES).encode()[:TEXT_BYTES].decode(errors="ignore")


async def _parts(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), _PART_BYTES):
        yield data[at : at + _PART_BYTES]
