"""Events of the host's kernel for a component: what the helper tells, to all that iterate it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeAlias

from tlsrt.channels.control.host_event import Uevent
from tlsrt.channels.control.kernel_record import KernelRecord
from tlsrt.channels.control.network_change import NetworkChange
from tlsrt.channels.control.pressure import Pressure
from tlsrt.channels.control.process_table import ProcessTable

WAITING_MAX = 256  # events that one iteration has not taken
HostEvent: TypeAlias = Uevent | Pressure | KernelRecord | NetworkChange | ProcessTable


class HostEventFeed:
    """All iterations of one component over the events of one kind. What comes while none runs is for none."""

    def __init__(self) -> None:
        self._waiting: list[_Iteration] = []

    def take(self, event: HostEvent) -> None:
        """Give an event to every iteration."""
        for iteration in self._waiting:
            iteration.put(event)

    async def follow(self) -> AsyncIterator[HostEvent]:
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
        self._events: deque[HostEvent] = deque()
        self._has_come = asyncio.Event()
        self._dropped = 0

    def put(self, event: HostEvent) -> None:
        if len(self._events) >= WAITING_MAX:
            self._dropped += 1 + self._events.popleft().dropped
        self._events.append(event)
        self._has_come.set()

    async def next(self) -> HostEvent:
        while not self._events:
            self._has_come.clear()
            await self._has_come.wait()
        event, dropped = self._events.popleft(), self._dropped
        self._dropped = 0
        return replace(event, dropped=event.dropped + dropped) if dropped else event
