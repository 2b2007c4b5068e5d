"""Events of another component without a gap that is not told and without doubles, over restarts of both. asyncio.

Theory of operation. A publisher numbers the values of a topic and keeps the last ones, for those who subscribe with a
position. The first item of such a stream says where it begins and what is missing, and each value comes with its
position; so a follower that lost its stream (Primary was restarted, it read too slowly) asks for what lies behind its
own. What died with the memory of a publisher cannot be had again: then a `Gap` comes, as an item, since what follows
it is good.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from tlsrt.backoff import Backoff
from tlsrt.channels.calls.resumption import CAP_S, FIRST_S, passes, resumed
from tlsrt.errors import CallError, Failed

EVENTS = "primary/events"  # has a method for each kind of event, so that policy can tell them apart
OpenStream = Callable[[str], AsyncIterator[Any]]


@dataclass(frozen=True, slots=True)
class Gap:
    """Events were lost at this place: so many, or None where it cannot be told, as their publisher was restarted."""

    missed: int | None


class Followed:
    """The events of a topic, and a `Gap` where some are lost. Iterate it; it never ends by itself.

    `at` is the position behind the last item, as a text to keep: `follow(..., since=at)` goes on there.
    """

    def __init__(self, name: str, open_stream: OpenStream, since: str, log: logging.Logger) -> None:
        self.at = since
        self._name = name
        self._open_stream = open_stream
        self._log = log
        self._backoff = Backoff(FIRST_S, CAP_S)
        self._is_open = True

    def __aiter__(self) -> AsyncGenerator[Any, None]:
        return resumed(self._opened, self._backoff, self._on_break)

    def _on_break(self, error: CallError) -> None:
        if not passes(error):
            raise error
        if self._is_open:
            self._is_open = False
            self._log.info("follow %s: broken off, and taken up again: %s", self._name, error.message)

    async def _opened(self) -> AsyncGenerator[Any, None]:
        items: Any = self._open_stream(self.at)
        async with aclosing(items):
            async for item in items:
                self._backoff.reset()
                self._is_open = True
                at = item.get("at") if isinstance(item, Mapping) else None
                if not isinstance(at, str):
                    raise Failed(f"cannot follow {self._name}: what it sends has no position")
                self.at = at
                gap = item.get("gap")
                if isinstance(gap, int) and gap:
                    yield Gap(gap if gap > 0 else None)
                if "event" in item:
                    yield item["event"]
