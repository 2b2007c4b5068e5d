"""Events of the host's kernel for a component: what the helper tells, to all that iterate it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace

from tlsrt.channels.control.host_event import Uevent

WAITING_MAX = 256  # events that one iteration has not taken


class UeventFeed:
    """All iterations of one component. What comes while none runs is for none."""

    def __init__(self) -> None:
        self._waiting: list[_Iteration] = []

    def take(self, event: Uevent) -> None:
        """Give an event to every iteration."""
        for iteration in self._waiting:
            iteration.put(event)

    async def follow(self) -> AsyncIterator[Uevent]:
        """Give what happens from now on."""
        iteration = _Iteration()
        self._waiting.append(iteration)
        try:
            while True:
                yield await iteration.next()
        finally:
            self._waiting.remove(iteration)


class _Iteration:
    """What one iteration has to take; the oldest events go when there are too many, and are counted."""

    def __init__(self) -> None:
        self._events: deque[Uevent] = deque()
        self._has_come = asyncio.Event()
        self._dropped = 0

    def put(self, event: Uevent) -> None:
        if len(self._events) >= WAITING_MAX:
            self._dropped += 1 + self._events.popleft().dropped
        self._events.append(event)
        self._has_come.set()

    async def next(self) -> Uevent:
        while not self._events:
            self._has_come.clear()
            await self._has_come.wait()
        event, dropped = self._events.popleft(), self._dropped
        self._dropped = 0
        return replace(event, dropped=event.dropped + dropped) if dropped else event
