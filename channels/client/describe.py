"""What a client may use, out of the components' own descriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from tlsrt.errors import CallError


class Asks(Protocol):
    """The part of a client that is needed."""

    async def call(self, target: str, method: str, /, *args: object, timeout_s: float = ...) -> Any: ...


async def described(
    client: Asks, target: str | None, rights: Mapping[str, tuple[str, ...]], timeout_s: float
) -> dict[str, Any]:
    """Return {target: description} as `AsyncClient.describe` says."""
    targets = [target] if target is not None else sorted(rights)
    answers = await asyncio.gather(
        *(client.call(name, "describe", timeout_s=timeout_s) for name in targets), return_exceptions=True
    )
    result: dict[str, Any] = {}
    for name, answer in zip(targets, answers, strict=True):
        if isinstance(answer, CallError) and target is None:
            result[name] = {"error": answer.message}
        elif isinstance(answer, BaseException):
            raise answer
        else:
            result[name] = _allowed(answer, rights.get(name, ()))
    return result


def _allowed(description: Mapping[str, Any], methods: tuple[str, ...]) -> dict[str, Any]:
    result = dict(description)
    offered = result.get("methods")
    if "*" not in methods and isinstance(offered, dict):
        result["methods"] = {name: spec for name, spec in offered.items() if name in methods}
    return result
