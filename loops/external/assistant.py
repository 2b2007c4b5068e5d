"""The assistant: who rings it asks in words about logs and notes of this host, and hears the answer and its sources.

It is rung by external/calls, hears and speaks by secondary/speech, looks where the options let this number look, and
has secondary/ask make an answer of that. All of it is on this host.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from tlsrt import Busy, Component, Length, Pattern, Range, handler
from tlsrt.asking import DEFAULT
from tlsrt.loops.external.assistant_talk import AssistantTalk
from tlsrt.loops.external.call_ear import CallEar
from tlsrt.loops.external.call_leg import ANSWER

CALLS = 2  # at once: each has a model think
GREETING = "Please ask after the tone."
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, kw_only=True)
class LineOptions:
    """A number: who may ask there, and about what. Who may ask hears what stands there, by no right of its own."""

    by: Annotated[list[str], Length(64, 1), "Who may ask: client/NAME, LOOP/NAME, ADDRESS@HOST; each by its name."]
    logs: Annotated[bool, "Journal and logs of this host."] = False
    audit: Annotated[bool, "Its audit log."] = False
    search: Annotated[list[str], Length(8), "Namespaces of secondary/search."] = field(default_factory=list[str])
    since: Annotated[str, Length(40, 1), "The time that a question is about which names none."] = "24h"
    greeting: Annotated[str, Length(500), "What is said at first; empty for the tone alone."] = GREETING
    voice: Annotated[
        str, Pattern(re.compile("[a-z]{2,3}(-[a-z0-9]{1,8}){0,3}"), "a voice of espeak-ng"), Length(32, 2)
    ] = "en"
    language: Annotated[str, Pattern(re.compile("[a-z]{2,3}"), "a language"), Length(3, 2), "Of questions."] = "en"
    quiet_db: Annotated[float, Range(-96, 0), "What is less loud is silence, dB of full scale."] = -45.0

    def __post_init__(self) -> None:
        for one in self.by:
            if "*" in one or "/" not in one:
                raise ValueError(f"by: {one!r} is no address: name each who may ask, such as client/anna")
        if not (self.logs or self.audit or self.search):
            raise ValueError("it may look nowhere: write `logs: true`, `audit: true`, or namespaces under `search`")


class Assistant(Component):
    """Answers questions that are spoken."""

    @dataclass(frozen=True)
    class Options:
        """Options: the numbers, and the model."""

        numbers: Annotated[dict[str, LineOptions], Length(16), "By the number of external/calls."] = field(
            default_factory=dict[str, LineOptions]
        )
        model: Annotated[str, Length(130, 3), "The component that answers."] = DEFAULT
        tokens: Annotated[int, Range(1, 1024), "The most of one answer."] = 96

        def __post_init__(self) -> None:
            for name in self.numbers:
                if not _NAME.fullmatch(name):
                    raise ValueError(f"numbers: {name!r} is no number of external/calls: write a-z, 0-9, _ and -")

    async def start(self) -> None:
        self._live: set[str] = set()

    def now(self) -> datetime:
        """The local time, in a method of its own so that a test can set it."""
        return datetime.now().astimezone()

    @handler
    async def take_call(
        self, id: str, by: str, says: str, number: str, heard: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Answer questions, for those whom the options name."""
        line = self.options.numbers.get(number)
        if line is None or by not in line.by:
            self.log.warning("call %s: %s may not ask at %r", id, by, number)
            return
        if len(self._live) >= CALLS:
            raise Busy(f"{CALLS} calls are answered at once")
        self._live.add(id)
        self.count("taken")
        try:
            async with CallEar(heard) as ear:
                yield ANSWER
                talk = AssistantTalk(self, line, ear, self.options.model, self.options.tokens, self.now)
                async with aclosing(talk.pieces()) as pieces:  # type: ignore[type-var]
                    async for piece in pieces:
                        yield piece
        finally:
            self._live.discard(id)
