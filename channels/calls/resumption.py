"""Streams that go on after a break: opened again, with pauses, for as long as the error may pass. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

from tlsrt.backoff import Backoff
from tlsrt.errors import (
    Away,
    Busy,
    CallError,
    Cancelled,
    DeadlineExceeded,
    OutcomeUnknown,
    ServerLocked,
    Stale,
    StreamBroken,
    Unavailable,
)

Item = TypeVar("Item")
FIRST_S, CAP_S = 0.05, 2.0
_PASSING = (Unavailable, Away, Busy, Cancelled, DeadlineExceeded, OutcomeUnknown, Stale, StreamBroken)


def passes(error: CallError) -> bool:
    """Whether the same may work in a moment."""
    return isinstance(error, _PASSING) or (error.from_gate and not isinstance(error, ServerLocked))


async def resumed(
    opened: Callable[[], AsyncGenerator[Item, None]], backoff: Backoff, on_break: Callable[[CallError], None]
) -> AsyncGenerator[Item, None]:
    """Yield what `opened()` does, and open it again whenever it ends.

    It knows by itself where to go on, and resets the backoff when it has come through. `on_break` hears each error,
    and raises what will not pass.
    """
    while True:
        try:
            async with aclosing(opened()) as items:
                async for item in items:
                    yield item
        except CallError as error:
            on_break(error)
        await asyncio.sleep(backoff.pause())
