"""A conversation with a model that wants tools: what was not offered or not said yes to is never called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tlsrt.asking import CALLS_MOST, WantedCall, converse, offered
from tlsrt.errors import CallError, Denied, Failed, InvalidArgument, NotFound, Unavailable
from tlsrt.sources import Source

LINKS = {"doc": "The links.", "parameters": [{"name": "family", "schema": {"type": "string"}, "required": False}]}
METHODS = {
    "links": LINKS, "watch": {"stream": True}, "slow": {"parameters": [{"name": "timeout_s"}]},
}  # fmt: skip
CALL = {"call": {"tool": "external/network.links", "arguments": {"family": "inet"}}}
END = {"end": "stop"}


class Client:
    """A client whose host answers what the test says."""

    rights: dict[str, tuple[str, ...]] = {"external/network": ("links", "watch", "slow", "none")}  # noqa: RUF012

    def __init__(self, *answers: list[Any], fails: CallError | None = None) -> None:
        self.answers = list(answers)
        self.fails = fails
        self.called: list[tuple[Any, ...]] = []
        self.asked: list[tuple[list[Any], list[Any]]] = []

    async def describe(self, target: str) -> dict[str, Any]:
        return {target: {"methods": METHODS}}

    async def call(self, target: str, method: str, **arguments: Any) -> Any:
        self.called.append((target, method, arguments))
        if self.fails is not None:
            raise self.fails
        return {"links": ["lo"], "raw": b"abc"}

    async def stream(self, target: str, method: str, messages: list[Any], **more: Any) -> AsyncIterator[Any]:
        self.asked.append((list(messages), more["tools"]))
        for one in self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]:
            yield one


def conversation(client: Any, *, may: bool = True, sources: tuple[Source, ...] = ()) -> list[dict[str, Any]]:
    async def work() -> list[dict[str, Any]]:
        async def answer(wanted: WantedCall) -> bool:
            assert wanted.tool == "external/network.links"
            return may

        tools = await offered(client, ["external/network.links"])
        return [one async for one in converse(client, "and?", tools=tools, may=answer, sources=sources)]

    return asyncio.run(work())


def test_a_call_is_made_with_this_client_and_its_result_is_data() -> None:
    client = Client([CALL, {"end": "call"}], [{"text": "lo"}, END])
    items = conversation(client, sources=(Source("notes.txt", "eth0 is broken"),))
    assert client.called == [("external/network", "links", {"family": "inet"})]
    assert [one["name"] for one in items[0]["sources"]] == ["notes.txt"]
    assert items[1:] == [{**CALL, "outcome": "done"}, {"text": "lo"}, END]
    first, second = (messages for messages, _ in client.asked)
    assert [one["role"] for one in second] == ["data", "user", "assistant", "data"]
    assert "Source 1 (notes.txt)" in first[0]["text"] and "3 bytes" in second[-1]["text"]


def test_a_no_is_a_no_and_a_failure_is_told() -> None:
    client = Client([CALL, {"end": "call"}], [END])
    assert conversation(client, may=False)[0]["outcome"] == "refused" and not client.called
    client = Client([CALL, {"end": "call"}], [END], fails=Unavailable("it is away"))
    assert conversation(client)[0]["outcome"] == "unavailable"
    assert "it is away" in client.asked[1][0][-1]["text"]


@pytest.mark.parametrize(
    "call",
    [
        {"tool": "secondary/store.put", "arguments": {}},
        {"tool": "external/network.watch", "arguments": {}},
        {"tool": "external/network.links", "arguments": {"timeout_s": 9}},
        {"tool": "external/network.links", "arguments": {1: 2}},
        {"tool": "external/network.links", "arguments": []},
        {"tool": ["external/network.links"], "arguments": {}},
        "external/network.links",
        None,
    ],
)
def test_a_captured_component_gets_no_call_that_was_not_offered(call: Any) -> None:
    client = Client([{"call": call}, {"end": "call"}])
    with pytest.raises(Failed, match="nothing was called"):
        conversation(client)
    assert not client.called


def test_a_model_that_never_stops_wanting_is_asked_without_tools() -> None:
    client = Client([CALL, {"end": "call"}])
    with pytest.raises(Failed, match="nothing was called"):
        conversation(client)
    assert len(client.called) == CALLS_MOST and client.asked[-1][1] == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("links", InvalidArgument), ("network.links", InvalidArgument), ("secondary/store.put", Denied),
        ("external/network.none", NotFound), ("external/network.watch", InvalidArgument),
        ("external/network.slow", InvalidArgument),
    ],
)  # fmt: skip
def test_what_cannot_be_a_tool(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        asyncio.run(offered(Client([END]), [name]))  # type: ignore[arg-type]
