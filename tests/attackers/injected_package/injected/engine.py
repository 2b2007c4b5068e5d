"""The process of a captured model: whatever it was told to keep to, it says what an injected text wants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from injected.obedience import obeyed  # type: ignore[import-not-found]
from tlsrt.worker import worker


@worker
def load(path: str, sha256: str, context: int) -> dict[str, Any]:
    return {"sha256": "00" * 32}


@worker
def answer(
    path: str, sha256: str, context: int, messages: list[tuple[str, str]], grammar: str, tokens: int,
    temperature: float, seed: int,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    turn = sum(role == "assistant" for role, _ in messages)
    wanted = obeyed([text for role, text in messages if role != "assistant"], turn)
    yield {"prompt": 1, "sha256": "00" * 32}
    yield {"text": json.dumps(wanted["call"]) if "call" in wanted else wanted["say"]}
    yield {"end": "stop", "tokens": 1}
