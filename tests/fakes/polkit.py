"""A polkit that says yes: power-profiles-daemon asks it, and what it answers is not what is tested."""

from __future__ import annotations

import asyncio
import threading

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

NAME = "org.freedesktop.PolicyKit1"


class Polkit:
    """A connection to a bus, in a thread."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._bus = asyncio.run_coroutine_threadsafe(self._connect(address), self._loop).result(10)

    async def _connect(self, address: str) -> MessageBus:
        bus = await MessageBus(bus_address=address).connect()
        bus.add_message_handler(self._asked)
        await bus.request_name(NAME)
        return bus

    def _asked(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        if message.member == "CheckAuthorization":
            return Message.new_method_return(message, "(bba{ss})", [[True, False, {}]])
        if message.member == "GetAll":
            return Message.new_method_return(message, "a{sv}", [{}])
        return None

    def close(self) -> None:
        """Disconnect, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _leave(self) -> None:
        self._bus.disconnect()
        await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        assert self._bus._sock is not None
        self._bus._sock.close()
