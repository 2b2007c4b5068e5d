"""A conversation with a language model that may want tools: they are called here, with the rights of who asks.

`secondary/ask` can call nothing. What its model wants comes as a `call`; it is carried out only if it is one of the
tools that were offered, and `may` says so, over this client's own session: so a model that a message, a file or a web
page has turned can want no more than the client may do itself, and gets no more than was offered and said yes to.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from tlsrt.errors import CallError, Denied, Failed, InvalidArgument, NotFound
from tlsrt.sources import Asker, Source

__all__ = ["CALLS_MOST", "DEFAULT", "WantedCall", "converse", "offered"]
CALLS_MOST = 8  # of one question
RESULT_CHARS = 8000  # of a tool, that the model is shown
DEFAULT = "secondary/ask"
_OWN = frozenset({"timeout_s", "idempotent"})  # of `AsyncClient.call`


@dataclass(frozen=True)
class WantedCall:
    """A call that the model wants: a tool of those that were offered, and arguments by name."""

    target: str
    method: str
    arguments: dict[str, Any]

    @property
    def tool(self) -> str:
        return f"{self.target}.{self.method}"


class Describer(Asker, Protocol):
    """One who asks and knows what components can do: an AsyncClient."""

    async def describe(self, target: str) -> dict[str, dict[str, Any]]: ...


async def offered(client: Describer, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the tools that LOOP/NAME.METHOD name, as `chat` takes them.

    Raises InvalidArgument, NotFound or Denied for one that this client cannot call in a conversation.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        target, dot, method = name.rpartition(".")
        if not dot or "/" not in target:
            raise InvalidArgument(f"{name} is no tool: write LOOP/NAME.METHOD, as in external/network.links")
        rights = client.rights.get(target, ())
        if method not in rights and "*" not in rights:
            raise Denied(f"this client may not call {method} of {target}, so the model cannot have it for a tool")
        methods = (await client.describe(target))[target].get("methods", {})
        spec = methods.get(method)
        if spec is None:
            raise NotFound(f"{target} has no method {method}")
        if spec.get("stream") or spec.get("upload"):
            raise InvalidArgument(f"{name} streams: a tool takes arguments and returns one value")
        if taken := _OWN & {one["name"] for one in spec.get("parameters", ())}:
            raise InvalidArgument(f"{name} cannot be a tool: its {min(taken)} would be taken for an option of the call")
        parameters = [
            {
                "name": one["name"], "kind": str(one.get("schema", {}).get("type", "any")),
                "required": bool(one.get("required")),
            }
            for one in spec.get("parameters", ())
        ]  # fmt: skip
        found[name] = {"name": name, "doc": str(spec.get("doc", ""))[:4000], "parameters": parameters}
    return found


async def converse(
    client: Asker, question: str, *, tools: dict[str, dict[str, Any]], sources: Sequence[Source] = (),
    may: Callable[[WantedCall], Awaitable[bool]], history: Sequence[dict[str, str]] = (), target: str = DEFAULT,
    tokens: int = 256, timeout_s: float = 300.0,
) -> AsyncGenerator[dict[str, Any], None]:  # fmt: skip
    """Ask, and give `sources`, `text` pieces, each `call` with its `outcome`, and the last `end`.

    `sources` are all that the model is given, first and as they are numbered: no one can say on which of them its
    answer stands. `history` are messages before the question, {role, text} each. Raises what the call raises.
    """
    if sources:
        yield {"sources": [_listed(at, one) for at, one in enumerate(sources, 1)]}
    given = ({"role": "data", "text": one} for one in _given(sources))
    messages = [*history, *given, {"role": "user", "text": question}]
    for count in range(CALLS_MOST + 1):
        left = tools if count < CALLS_MOST else {}  # without tools it has to answer in words
        wanted: WantedCall | None = None
        async with aclosing(
            client.stream(target, "chat", messages, tools=[*left.values()], tokens=tokens, timeout_s=timeout_s)
        ) as items:
            async for item in items:
                match item:
                    case {"call": call}:
                        wanted = _wanted_untrusted(call, left)
                    case {"end": str()}:
                        if wanted is None:
                            yield item
                    case {"text": str(text)}:
                        yield {"text": text}
                    case {"read": int(read), "of": int(of)}:
                        yield {"read": read, "of": of}
                    case _:  # above all none that looks like one of this function
                        raise Failed("the model's component answers with what is no part of an answer")
        if wanted is None:
            return
        outcome, shown = await _carried_out(client, wanted, may)
        yield {"call": {"tool": wanted.tool, "arguments": wanted.arguments}, "outcome": outcome}
        said = json.dumps({"tool": wanted.tool, "arguments": wanted.arguments}, ensure_ascii=False)
        messages.append({"role": "assistant", "text": said})
        messages.append({"role": "data", "text": f"{wanted.tool}: {shown[:RESULT_CHARS]}"})


def _listed(number: int, source: Source) -> dict[str, Any]:
    return {
        "number": number, "name": source.name, "place": source.place, "at_ms": source.at_ms, "author": source.author,
        "text": source.text,
    }  # fmt: skip


def _given(sources: Sequence[Source]) -> list[str]:
    """Return sources as messages: neighbours of one line share one, as no line of theirs can look like another's."""
    found, lines = list[str](), list[str]()
    for at, one in enumerate(sources, 1):
        is_line = len(one.text.splitlines()) == 1
        if lines and not is_line:
            found.append("\n".join(lines))
            lines = []
        if is_line:
            lines.append(f"Source {at} ({one.head}): {one.text}")
        else:
            found.append(f"Source {at} ({one.head}):\n{one.text}")
    return [*found, "\n".join(lines)] if lines else found


def _wanted_untrusted(call: object, tools: dict[str, dict[str, Any]]) -> WantedCall:
    """Return a call; the component that says it may be captured. Raises Failed for what was not offered."""
    name = call.get("tool") if isinstance(call, dict) else None
    arguments = call.get("arguments") if isinstance(call, dict) else None
    if not isinstance(name, str) or name not in tools or not isinstance(arguments, dict):
        raise Failed("the model's component wants a call that was not offered to it: nothing was called")
    if not arguments.keys() <= {one["name"] for one in tools[name]["parameters"]}:
        raise Failed(f"the model's component wants {name} with arguments that it has not: nothing was called")
    target, _, method = name.rpartition(".")
    return WantedCall(target, method, arguments)


async def _carried_out(
    client: Asker, wanted: WantedCall, may: Callable[[WantedCall], Awaitable[bool]]
) -> tuple[str, str]:
    """Return how a call went (`done`, `refused` or a code of errors), and what the model is told of it."""
    if not await may(wanted):
        return "refused", "the person has not allowed this call; answer without it"
    try:
        result = await client.call(wanted.target, wanted.method, **wanted.arguments)
    except CallError as error:
        return error.code, f"it failed: {error}"
    return "done", json.dumps(result, ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
