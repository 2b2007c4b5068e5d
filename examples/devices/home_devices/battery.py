"""The battery: asks upowerd over the system bus, and says when something has changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from dbus_fast import BusType, DBusError, ErrorType, Message, MessageType
from dbus_fast.aio import MessageBus

from tlsrt import Component, Failed, Range, Unavailable, handler

UPOWER, ROOT = "org.freedesktop.UPower", "/org/freedesktop/UPower"
PROPERTIES, BUS = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus"
SIGNALS = (f"type='signal',sender='{UPOWER}'",)


class Battery(Component):
    """What upowerd knows: sources of power, and how full they are."""

    topics = {"changed": "{path, names}: properties of a source of power have changed"}  # noqa: RUF012

    @dataclass(frozen=True, slots=True)
    class Options:
        bus: Annotated[str, "The address of another bus than the system's."] = ""
        retry_s: Annotated[float, Range(0.05, 600), "The pause before it connects again."] = 5.0

    async def start(self) -> None:
        self.bus: MessageBus | None = None
        self.spawn(self.keep)

    def ready(self) -> str | None:
        """Return why nothing can be asked now."""
        return "no bus" if self.bus is None else None

    async def keep(self) -> None:
        """Stay on the bus, for ever."""
        while True:
            try:
                bus = await MessageBus(self.options.bus or None, BusType.SYSTEM).connect()
                bus.add_message_handler(self.heard)
                for rule in SIGNALS:
                    await self.ask(bus, BUS, "/org/freedesktop/DBus", BUS, "AddMatch", "s", rule)
                self.bus = bus
                await bus.wait_for_disconnect()
            except (OSError, EOFError, Failed, DBusError) as error:
                self.log.warning("no bus: %s", error or type(error).__name__)
            self.bus = None
            await asyncio.sleep(self.options.retry_s)

    def heard(self, message: Message) -> None:
        """Publish what has changed."""
        if message.message_type is MessageType.SIGNAL and message.member == "PropertiesChanged":
            self.publish("changed", {"path": message.path, "names": sorted(message.body[1])})

    @handler(idempotent=True)
    async def power(self) -> dict[str, Any]:
        """Return what upowerd says of the host: OnBattery, LidIsClosed and others."""
        return await self.properties(ROOT, UPOWER)

    @handler(idempotent=True)
    async def sources(self) -> dict[str, Any]:
        """Return the sources of power by their paths: kind, percentage, state and others."""
        (paths,) = await self.on_bus(UPOWER, ROOT, UPOWER, "EnumerateDevices")
        return {path: await self.properties(path, f"{UPOWER}.Device") for path in paths}

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        (found,) = await self.on_bus(UPOWER, path, PROPERTIES, "GetAll", "s", interface)
        return {name: variant.value for name, variant in found.items()}

    async def on_bus(self, *what: str) -> list[Any]:
        if self.bus is None:
            raise Unavailable("there is no bus")
        return await self.ask(self.bus, *what)

    @staticmethod
    async def ask(
        bus: MessageBus, name: str, path: str, interface: str, member: str, signature: str = "", *body: object
    ) -> list[Any]:
        """Call a method of a bus. Raises Failed with the error's name."""
        asked = Message(name, path, interface, member, signature=signature, body=list(body))
        async with asyncio.timeout(10):
            answer = await bus.call(asked)
        if answer is None or answer.message_type is MessageType.ERROR:
            error = answer.error_name if answer is not None else str(ErrorType.NO_REPLY)
            raise Failed(f"{member}: {error}")
        return list(answer.body)
