"""A captured component in the place of `secondary/ask`: no one checks its calls before the client does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from injected.obedience import obeyed  # type: ignore[import-not-found]
from tlsrt import Component, handler


class Captured(Component):
    """Says what an injected text wants, and calls of any tool with any arguments."""

    @handler
    async def chat(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] = [], tokens: int = 256  # noqa: B006
    ) -> AsyncIterator[Any]:  # fmt: skip
        turn = sum(one["role"] == "assistant" for one in messages)
        wanted = obeyed([one["text"] for one in messages if one["role"] != "assistant"], turn)
        if "raw" in wanted:
            yield wanted["raw"]
        elif "call" in wanted:
            yield {"call": wanted["call"]}
            yield {"end": "call"}
        else:
            yield {"text": wanted["say"]}
            yield {"end": "stop"}
