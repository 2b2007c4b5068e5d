"""A component that speaks D-Bus by a library in Python, which tells the bus the uid that it finds, as it is."""

from __future__ import annotations

from dbus_fast import Message
from dbus_fast.aio import MessageBus

from tlsrt import Component, handler


class DbusFastTalk(Component):
    """Switches a lamp."""

    @handler
    async def switch(self, path: str, name: str) -> list[str]:
        """Call a method that is listed, and one that is not."""
        bus = await MessageBus(bus_address=f"unix:path={path}").connect()
        found: list[str] = []
        for method in ("Set", "Get"):
            answer = await bus.call(Message(name, "/thing", "org.example.Light", method))
            found.append("no answer" if answer is None else answer.error_name or "done")
        bus.disconnect()
        return found
