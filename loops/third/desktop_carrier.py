"""The desktop as a carrier, over org.freedesktop.Notifications (Desktop Notifications Specification 1.3). dbus-fast.

A reminder takes the place of the bubble before it. Its button acknowledges the notification, and what was acknowledged
elsewhere is closed. Bodies may have markup by the specification, so what a sender says is escaped.
"""

from __future__ import annotations

import asyncio
import html
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from dbus_fast import DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from tlsrt.loops.third.notice import CarrierAwayError
from tlsrt.loops.third.notice import Message as Notification

NAME, PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
_BUS = "org.freedesktop.DBus"
_SHOWN = 256  # bubbles that are remembered
_URGENCY = {"info": 0, "warning": 1, "error": 1, "critical": 2}
_NEVER_EXPIRES, _AS_SERVER = 0, -1
_ACKNOWLEDGE = "acknowledge"


class DesktopCarrier:
    """Shows each message on one session bus, at which it stays. `acknowledged` hears of a pressed button, `spawn` runs
    what need not be waited for."""

    def __init__(
        self, bus: str, timeout_s: float, acknowledged: Callable[[int], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:  # fmt: skip
        self.timeout_s = timeout_s
        self._address = f"unix:path={bus}"
        self._acknowledged = acknowledged
        self._spawn = spawn
        self._bus: MessageBus | None = None
        self._shown: OrderedDict[int, int] = OrderedDict()  # notification: bubble

    async def deliver(self, message: Notification) -> None:
        hints = {"urgency": Variant("y", _URGENCY[message.severity]), "desktop-entry": Variant("s", "tlsrt")}
        facts = f"{message.sender}" + (f", {message.count} times" if message.count > 1 else "")
        body = html.escape(message.body, quote=False) + ("\n" if message.body else "") + html.escape(facts, quote=False)
        title = f"Reminder {message.reminder}: {message.title}" if message.reminder else message.title
        lasts = _NEVER_EXPIRES if message.severity == "critical" else _AS_SERVER
        (bubble,) = await self._ask(
            "Notify", "susssasa{sv}i", "tlsrt", self._shown.get(message.id, 0), "", title, body,
            [_ACKNOWLEDGE, "Acknowledge"], hints, lasts,
        )  # fmt: skip
        self._shown[message.id] = bubble
        self._shown.move_to_end(message.id)
        if len(self._shown) > _SHOWN:
            self._shown.popitem(last=False)

    def take_back(self, number: int) -> None:
        bubble = self._shown.pop(number, None)
        if bubble is not None:
            self._spawn(self._close(bubble))

    async def _close(self, bubble: int) -> None:
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._ask("CloseNotification", "u", bubble)
        except (CarrierAwayError, TimeoutError):
            pass  # the desktop has gone, and its bubbles with it

    async def _ask(self, member: str, signature: str, *body: object) -> list[Any]:
        bus = self._bus
        try:
            if bus is None or not bus.connected:
                bus = self._bus = await self._connect()
            return await _call(bus, Message(NAME, PATH, NAME, member, signature=signature, body=list(body)))
        except (OSError, EOFError, DBusError, ValueError) as error:
            self._bus = None
            raise CarrierAwayError(f"no session bus: {error or type(error).__name__}") from None

    async def _connect(self) -> MessageBus:
        self._shown.clear()  # another desktop counts its bubbles anew
        bus = await MessageBus(self._address).connect()
        bus.add_message_handler(self._heard)
        rule = f"type='signal',sender='{NAME}',interface='{NAME}'"
        await _call(bus, Message(_BUS, "/org/freedesktop/DBus", _BUS, "AddMatch", signature="s", body=[rule]))
        return bus

    def _heard(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL or message.interface != NAME or not message.body:
            return
        number = next((one for one, bubble in self._shown.items() if bubble == message.body[0]), None)
        if number is None:
            return
        if message.member == "ActionInvoked" and message.body[1:2] == [_ACKNOWLEDGE]:
            self._acknowledged(number)
        elif message.member == "NotificationClosed":
            self._shown.pop(number, None)


async def _call(bus: MessageBus, message: Message) -> list[Any]:
    answer = await bus.call(message)
    if answer is None or answer.message_type is MessageType.ERROR:
        name = answer.error_name if answer is not None else "no answer"
        raise CarrierAwayError(f"no desktop takes notifications: {name}")
    return list(answer.body)
