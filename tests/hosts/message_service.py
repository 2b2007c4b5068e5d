"""`external/messages` without a host, with a clock that a test sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlsrt.loops.external.messages import Messages
from tlsrt.testing import FakeEvents, running_sync

NEEDS = {
    "state_mb": 64, "threads": 2,
    "secrets": [{"name": name, "why": "a test", "optional": True} for name in ("signing", "host")],
    "alerts": [{"name": name, "why": "a test"} for name in ("forged", "undeliverable")],
}  # fmt: skip
ANNA, BOB, EVE = "client/anna", "client/bob", "client/eve"


class ClockedMessages(Messages):
    ahead_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + type(self).ahead_ms


@contextmanager
def service(folder: Path, *, events: Any = None, **options: Any) -> Iterator[Any]:
    with running_sync(
        ClockedMessages, options=options, state=folder, address="external/messages", needs=NEEDS,
        events=events or FakeEvents(),
    ) as it:  # fmt: skip
        yield it


def send(it: Any, to: str = BOB, body: str | bytes = "hello", caller: str = ANNA, **more: Any) -> str:
    return str(it.call("send", to, body, caller=caller, **more)["id"])


def inbox(it: Any, caller: str = BOB, **more: Any) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = it.call("inbox", caller=caller, **more)["messages"]
    return found
