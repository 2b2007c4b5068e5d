"""A connection to a bus of D-Bus that is made again whenever it breaks, and the peers on it. Needs the extra `dbus`.

    from tlsrt.bus import Bus  # at the top of the module: a sealed process reads no code

    self.bus = Bus()
    self.upower = self.bus.peer("org.freedesktop.UPower")
    self.spawn(self.bus.keep)
    ...
    await self.upower.properties("/org/freedesktop/UPower", "org.freedesktop.UPower")

What a component may ask for there is granted under `needs: buses`. What a peer answers is not checked here: judge each
value that you take. Descriptors that come without a request for one are closed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from dbus_fast import BusType, DBusError, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus

from tlsrt.errors import CallError, Denied, Failed, NotFound, Unavailable

__all__ = ["PROPERTIES", "Bus", "BusPeer", "Message", "NoAnswer", "Variant", "plain"]

ANSWER_S = 5.0
RETRY_S, RETRY_MOST_S = 2.0, 60.0  # twice as long after each failure, as a host without a bus has none for ever
PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS, _BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
_AWAY = ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "Spawn.ServiceNotFound", "NoServer")
_REFUSED = ("AccessDenied", "InteractiveAuthorizationRequired", "AuthFailed")
_ABSENT = ("NoSuchUnit", "UnknownObject")


class NoAnswer(Unavailable):
    """A peer was asked, and no answer came: what was asked for may have been done."""


async def _nothing() -> None:
    return None


def _unheard(message: Message) -> None:
    """Signals are not asked for."""


class Bus:
    """One connection. `joined` is awaited each time that it is made, `heard` is called with each signal of a peer.

    `address` is that of another bus than the system's. With `descriptors` peers may pass descriptors.
    """

    def __init__(
        self, joined: Callable[[], Awaitable[None]] = _nothing, heard: Callable[[Message], None] = _unheard, *,
        address: str = "", descriptors: bool = False, answer_s: float = ANSWER_S,
    ) -> None:  # fmt: skip
        self._joined = joined
        self._heard = heard
        self._address = address
        self._descriptors = descriptors
        self._answer_s = answer_s
        self._bus: MessageBus | None = None
        self._wanted = asyncio.Event()  # one asks while there is no connection
        self.problem = "it was not tried yet"  # why there is no connection

    @property
    def is_there(self) -> bool:
        """Whether there is a connection."""
        return self._bus is not None

    def peer(self, name: str, *, begins: bool = True) -> BusPeer:
        """Return who has a well-known name. `begins`: the bus may start it when it is asked."""
        return BusPeer(self, name, begins=begins)

    async def keep(self) -> None:
        """Stay on the bus, for ever: run it as a task. Who asks while there is none has it tried sooner."""
        pause_s = RETRY_S
        while True:
            bus = None
            try:
                async with asyncio.timeout(self._answer_s * 2):
                    made = MessageBus(self._address or None, BusType.SYSTEM, negotiate_unix_fd=self._descriptors)
                    bus = await made.connect()
                    bus.add_message_handler(self._take)
                    self._bus = bus
                    await self._joined()
                pause_s = RETRY_S
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
                self.problem = "the connection was closed"
            except TimeoutError:
                self.problem = "it did not answer in time"
            except (OSError, EOFError, ValueError, DBusError) as error:
                self.problem = str(error) or type(error).__name__
            except CallError as error:
                self.problem = error.message
            finally:
                self._bus = None
                if bus is not None:
                    bus.disconnect()
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, RETRY_MOST_S)

    async def _pause(self, pause_s: float) -> None:
        """Wait until it is tried again: so long, or until it is asked for, but not more often than every RETRY_S."""
        self._wanted.clear()
        await asyncio.sleep(RETRY_S)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), pause_s - RETRY_S)

    def _take(self, message: Message) -> None:
        if message.message_type in (MessageType.SIGNAL, MessageType.METHOD_CALL):
            _close_descriptors(message)
        if message.message_type is MessageType.SIGNAL and message.sender != _BUS:
            self._heard(message)

    async def match(self, rule: str) -> None:
        """Have signals sent that fit a rule of D-Bus, without its type. Raises as `BusPeer.call` does."""
        await self.ask(Message(_BUS, _BUS_PATH, _BUS, "AddMatch", signature="s", body=[f"type='signal',{rule}"]))

    async def ask(self, message: Message) -> Message:
        """Send a call, and return its answer, with descriptors that are the caller's. Raises as `BusPeer.call` does."""
        name, member = message.destination, message.member
        if self._bus is None:
            self._wanted.set()
            raise Unavailable(f"there is no {name}, as there is no bus here: {self.problem[:200]}")
        asked = asyncio.ensure_future(self._bus.call(message))
        try:
            await asyncio.wait({asked}, timeout=self._answer_s)
        finally:
            if not asked.done():
                asked.add_done_callback(_too_late)
        if not asked.done():
            raise NoAnswer(f"{name} did not answer {member} within {self._answer_s:g} s")
        try:
            answer = asked.result()
        except (OSError, EOFError) as error:
            raise NoAnswer(f"{name} did not answer {member}: the bus was lost: {_words(error)}") from None
        if answer is None:
            raise NoAnswer(f"{name} did not answer {member}: the bus was lost")
        if answer.message_type is not MessageType.ERROR:
            return answer
        _close_descriptors(answer)
        kind, text = answer.error_name or "no reply", str(answer.body[0] if answer.body else "")[:200]
        if kind.endswith(_AWAY):
            raise Unavailable(f"there is no {name} on this bus, it does not run: {text or kind}")
        if kind.endswith(_REFUSED):
            raise Denied(f"{name} refuses {member}: {text or kind}")
        if kind.endswith(_ABSENT):
            raise NotFound(f"{name}: {text or kind}")
        raise Failed(f"{name} failed {member}: {text or kind}")


class BusPeer:
    """Who has one well-known name on a bus; `Bus.peer` makes one."""

    def __init__(self, bus: Bus, name: str, *, begins: bool) -> None:
        self._bus = bus
        self.name = name
        self._flags = MessageFlag.NONE if begins else MessageFlag.NO_AUTOSTART

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: object) -> list[Any]:
        """Call a method, and return what it answers.

        Raises Unavailable (away; NoAnswer if it was asked), Denied, NotFound or Failed, each with a sentence.
        """
        answer = await self._bus.ask(self._message(path, interface, member, signature, body))
        _close_descriptors(answer)
        return list(answer.body)

    async def take(self, path: str, interface: str, member: str, signature: str = "", *body: object) -> int:
        """Call a method that answers with one descriptor, and return it; close it. Raises as `call` does."""
        answer = await self._bus.ask(self._message(path, interface, member, signature, body))
        if len(answer.unix_fds) != 1:
            _close_descriptors(answer)
            raise Failed(f"{self.name} answered {member} with {len(answer.unix_fds)} descriptors, and not with one")
        return int(answer.unix_fds[0])

    async def get(self, path: str, interface: str, what: str) -> Any:
        """Return a property of an object. Raises as `call` does."""
        body = await self.call(path, PROPERTIES, "Get", "ss", interface, what)
        return plain(body[0]) if body else None

    async def set(self, path: str, interface: str, what: str, value: Variant) -> None:
        """Set a property of an object. Raises as `call` does."""
        await self.call(path, PROPERTIES, "Set", "ssv", interface, what, value)

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        """Return all properties of an interface of an object. Raises as `call` does."""
        body = await self.call(path, PROPERTIES, "GetAll", "s", interface)
        found = body[0] if body else None
        if not isinstance(found, dict):
            raise Failed(f"{self.name} answered GetAll with something else than properties")
        return {str(key): plain(value) for key, value in found.items()}

    async def match(self, rule: str) -> None:
        """Have those of its signals sent that fit a rule of D-Bus. Raises as `call` does."""
        await self._bus.match(f"sender='{self.name}',{rule}")

    def _message(self, path: str, interface: str, member: str, signature: str, body: tuple[object, ...]) -> Message:
        return Message(self.name, path, interface, member, flags=self._flags, signature=signature, body=list(body))


def plain(value: object) -> Any:
    """Return what a Variant holds, or the value itself."""
    return value.value if isinstance(value, Variant) else value


def _close_descriptors(message: Message) -> None:
    for descriptor in message.unix_fds:
        os.close(descriptor)


def _too_late(asked: asyncio.Future[Any]) -> None:
    """Close what an answer brings whose caller waits no more."""
    if not asked.cancelled() and asked.exception() is None and asked.result() is not None:
        _close_descriptors(asked.result())


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
