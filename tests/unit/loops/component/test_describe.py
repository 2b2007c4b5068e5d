"""What a component tells about itself is JSON, complete, and the same for every built-in one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any, cast

import pytest

from tlsrt.loops.component.component import Component, handler
from tlsrt.loops.component.describe import describe
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.component.surroundings import give
from tlsrt.loops.external.network import Network
from tlsrt.loops.facts.hardware import Hardware
from tlsrt.loops.facts.kernel import Kernel
from tlsrt.loops.forth.power import Power
from tlsrt.loops.secondary.store import Store
from tlsrt.loops.third.io import InputOutput


class Small(Component):
    """One of each.

    With more to say.
    """

    topics = {"news": "what is new"}  # noqa: RUF012

    @handler(idempotent=True)
    async def one(self, text: str, data: bytes = b"\xff", tags: list[str] = []) -> dict[str, int]:  # noqa: B006
        """Do one thing."""
        return {}

    @handler
    async def many(self, data: AsyncIterator[bytes]) -> AsyncIterator[float]:
        yield 1.0


def test_description_is_complete() -> None:
    component = Small()
    give(component, address="third/small")
    text = {"type": "string"}
    assert json.loads(json.dumps(describe(component))) == {
        "address": "third/small",
        "doc": "One of each.\n\nWith more to say.",
        "topics": {"news": "what is new"},
        "methods": {
            "one": {
                "doc": "Do one thing.",
                "parameters": [
                    {"name": "text", "type": "str", "schema": text, "required": True},
                    {
                        "name": "data",
                        "type": "bytes",
                        "schema": {"type": "string", "contentEncoding": "base64"},
                        "required": False,
                        "default": "/w==",
                    },
                    {
                        "name": "tags",
                        "type": "list[str]",
                        "schema": {"type": "array", "items": text},
                        "required": False,
                        "default": [],
                    },
                ],
                "returns": {
                    "type": "dict[str, int]",
                    "schema": {"type": "object", "additionalProperties": {"type": "integer"}},
                },
                "stream": False,
                "upload": False,
                "idempotent": True,
            },
            "many": {
                "doc": "",
                "parameters": [],
                "returns": {"type": "float", "schema": {"type": "number"}},
                "stream": True,
                "upload": True,
                "idempotent": False,
            },
        },
    }


@pytest.mark.parametrize("kind", [Hardware, InputOutput, Kernel, Network, Power, Store])
def test_built_in_components_describe_and_document_every_method(kind: type[Component]) -> None:
    component = kind()
    give(component, address="a/b")

    async def ask() -> object:
        return await cast("Awaitable[object]", invoke(component, "describe", [], {}, subject="client/a"))

    answer = cast("dict[str, Any]", asyncio.run(ask()))
    assert json.loads(json.dumps(answer)) == answer
    assert answer["doc"]
    assert answer["methods"]
    assert [name for name, method in answer["methods"].items() if not method["doc"]] == []
