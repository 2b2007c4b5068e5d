"""A language model on this host: it answers messages, and may ask for tools, which the one who asked calls.

This component can call nothing, and nothing that a model says is carried out here: a call that it wants is an item of
its answer. Who asked makes the call, or does not, in a session of its own. So no message, file or web page that the
model reads gives anybody a right.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Protocol

from tlsrt import Component, Failed, Length, Pattern, Range, WorkerError, handler, worker_of
from tlsrt.loops.secondary.ask_messages import (
    TOOLS_MOST,
    Message,
    Tool,
    call_untrusted,
    check,
    grammar,
    is_call,
    is_model_file,
    told,
)
from tlsrt.loops.secondary.model_calls import Extra, ModelCalls

ASKING = 8  # conversations that wait or are answered
ASKING_SHARE = 2  # of one caller
_SHA256 = re.compile(r"([0-9a-f]{64})?")
ANSWER_CHARS = 64 * 1024  # of one answer, whatever the model's process says


EXTRA = Extra("ai-ask", "a language model", "cyllama")


class Engine(Protocol):
    """The functions of the worker, `ask_model`."""

    async def load(self, path: str, sha256: str, context: int) -> dict[str, Any]: ...

    def answer(
        self, path: str, sha256: str, context: int, messages: list[tuple[str, str]], grammar: str, tokens: int,
        temperature: float, seed: int,
    ) -> AsyncIterator[dict[str, Any]]: ...  # fmt: skip


class Ask(Component):
    """A language model, offline."""

    class Options:
        """Options: the model."""

        model: Annotated[str, Length(1024, 1), "The model: a GGUF file, that stands under `read` of the program too."]
        sha256: Annotated[str, Pattern(_SHA256, "64 hexadecimal digits"), "Which file it must be."] = ""
        context: Annotated[int, Range(256, 131_072), "Tokens of messages and answer together."] = 4096
        answer_tokens: Annotated[int, Range(1, 16_384), "The most of one answer."] = 1024

        def __post_init__(self) -> None:
            if not is_model_file(self.model):
                raise ValueError("model: write the absolute path of a GGUF file, such as /srv/models/small.gguf")

    model = worker_of("model", Engine, idle="10m", cancel="10s")

    async def start(self) -> None:
        self._calls = ModelCalls(self.address, ASKING, ASKING_SHARE)

    @property
    def _file(self) -> tuple[str, str, int]:
        return self.options.model, self.options.sha256, self.options.context

    @handler(idempotent=True)
    async def about(self) -> dict[str, Any]:
        """Load the model, if it is not, and say which it is: name, sha256, description, parameters, context, engine."""
        EXTRA.expect()
        try:
            with self._calls.one(self.caller):
                found = await self.model.load(*self._file)
        except WorkerError as error:
            raise Failed(f"the model cannot be loaded: {error}") from None
        return {"name": self._name, "context": self.options.context, **found}

    @property
    def _name(self) -> str:
        return os.path.basename(self.options.model)

    @handler
    async def chat(
        self, messages: Annotated[list[Message], Length(200, 1)],
        tools: Annotated[tuple[Tool, ...], Length(TOOLS_MOST)] = (), tokens: Annotated[int, Range(1, 16_384)] = 256,
        temperature: Annotated[float, Range(0, 2)] = 0.0, seed: Annotated[int, Range(0, 2**31)] = 0,
    ) -> AsyncIterator[dict[str, Any]]:  # fmt: skip
        """Answer the last message: `read` and `of` while it reads, `text` piece by piece or one `call`, then `end`.

        `call` is {tool, arguments}: the model wants a tool. Call it with your own rights, or do not; send what it says
        as a further message of role `data`. `end` is stop, length or call, with `model`, `sha256`, `tokens`, `took_ms`.
        Nothing is kept: the next question has all messages again. End the stream and the model stops.
        """
        EXTRA.expect()
        check(messages, tools)
        began_s, most = time.monotonic(), min(tokens, self.options.answer_tokens)
        try:
            with self._calls.one(self.caller), self.time("answer"):
                async for item in self._answer(messages, tools, most, temperature, seed):
                    yield item if "end" not in item else {**item, "took_ms": round((time.monotonic() - began_s) * 1000)}
        except WorkerError as error:
            raise Failed(f"the model cannot answer: {error}") from None

    async def _answer(
        self, messages: Sequence[Message], tools: Sequence[Tool], tokens: int, temperature: float, seed: int
    ) -> AsyncIterator[dict[str, Any]]:
        prompt, sha256, said, chars = 0, "", "", 0
        wanted = self.model.answer(*self._file, told(messages, tools), grammar(tools), tokens, temperature, seed)
        async for item in wanted:
            match item:
                case {"prompt": int(prompt), "sha256": str(sha256)}:
                    pass
                case {"read": int(read)}:
                    yield {"read": read, "of": prompt}
                case {"text": str(text)}:
                    chars += len(text)
                    if chars > ANSWER_CHARS:
                        raise Failed(f"the answer is longer than {ANSWER_CHARS} characters")
                    if tools and is_call(said or text):
                        said += text
                    elif text:
                        said = said or " "  # it has begun with words, and stays with them
                        yield {"text": text}
                case {"end": str(end), "tokens": int(given)}:
                    if is_call(said) and end == "stop":
                        call = call_untrusted(said, tools)
                        if call is None:
                            raise Failed("the model has asked for what is none of the tools; ask in other words")
                        yield {"call": {"tool": call.tool, "arguments": call.arguments}}
                        end = "call"
                    yield {
                        "end": end, "model": self._name, "sha256": sha256, "tokens": {"prompt": prompt, "answer": given}
                    }  # fmt: skip
                    return
                case _:
                    raise Failed("the model's process has answered with what is no answer")
        raise Failed("the model's process has ended its answer before its end")
