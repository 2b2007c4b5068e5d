"""What is plugged in and out, as the kernel tells it."""

from __future__ import annotations

from collections import deque
from typing import Any

from tlsrt import Component, handler


class Plugged(Component):
    """Devices that come and go."""

    topics = {"event": "{action, subsystem, name}"}  # noqa: RUF012

    async def start(self) -> None:
        self.events: deque[dict[str, Any]] = deque(maxlen=100)
        self.spawn(self.listen)

    async def listen(self) -> None:
        """Publish devices that come and go; what they change meanwhile is left out."""
        async for event in self.host_events("uevents"):
            if event.action in ("add", "remove"):
                told = {"action": event.action, "subsystem": event.subsystem, "name": event.devname or event.devpath}
                self.events.append(told)
                self.publish("event", told)

    @handler(idempotent=True)
    async def recent(self) -> list[dict[str, Any]]:
        """Return the last hundred."""
        return list(self.events)
