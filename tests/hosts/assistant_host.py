"""A host whose assistant is rung: speech, a language model, logs of yesterday and notes, by real models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from tools.extras import need_extra

from hosts.calling_host import CALLS, calling_host
from hosts.joined_networks import JoinedNetworks, inside
from hosts.language_model import asking, brought, model_file
from hosts.running_host import RunningHost

ASSISTANT, ASK, SPEECH = "external/assistant", "secondary/ask", "secondary/speech"
LOGS, SEARCH = "secondary/logs", "secondary/search"
YESTERDAY = datetime.now() - timedelta(days=1)
EVENT = "the cellar door was opened by a key"
NUMBERS: dict[str, Any] = {
    "ask": {"rings": [ASSISTANT]}, "notes": {"rings": [ASSISTANT]}, "nothing": {"rings": [ASSISTANT]},
}  # fmt: skip
LINES: dict[str, Any] = {
    "ask": {"by": ["client/anna"], "logs": True}, "notes": {"by": ["client/anna", "client/ben"], "search": ["house"]},
}  # fmt: skip


@contextmanager
def assistant_host(
    request: pytest.FixtureRequest, name: str, *, tokens: int
) -> Iterator[tuple[RunningHost, JoinedNetworks]]:
    """Start the host; it has a log of yesterday, and notes of a namespace `house`."""
    model = model_file()
    need_extra("ai-speech", "faster_whisper")
    need_extra("ai", "wordllama")
    spaces = {"house": {"read": [ASSISTANT, "client/admin"], "write": ["client/admin"]}}
    more = {
        ASSISTANT: brought(ASSISTANT, numbers=LINES, tokens=tokens), ASK: asking(model), LOGS: brought(LOGS),
        SPEECH: brought(SPEECH), SEARCH: brought(SEARCH, namespaces=spaces),
    }  # fmt: skip
    rights = {
        f"{CALLS} -> {ASSISTANT}": ["take_call"], f"{ASSISTANT} -> {SPEECH}": ["speak", "transcribe_raw"],
        f"{ASSISTANT} -> {ASK}": ["chat"], f"{ASSISTANT} -> {LOGS}": ["query", "query_all"],
        f"{ASSISTANT} -> {SEARCH}": ["search"], f"client/admin -> {SEARCH}": "*", f"client/admin -> {ASK}": "*",
        "client/admin -> primary/events": "*",
    }  # fmt: skip
    with (
        calling_host(request, name, numbers=NUMBERS, more=more, rights=rights) as (host, networks),
        inside(networks.host),
    ):
        yesterday(host)
        yield host, networks


def yesterday(host: RunningHost) -> None:
    """Write what a process of this host has said on the day before, as the part of a log that was moved away."""
    lines = [f"{YESTERDAY:%Y-%m-%d} 03:{at:02}:20,120 INFO third/io: looked {at} times" for at in range(60)]
    lines.insert(9, f"{YESTERDAY:%Y-%m-%d} 03:08:20,500 WARNING third/io: {EVENT}")
    (host.config.log_dir / "third.log.1").write_text("\n".join(lines) + "\n")
