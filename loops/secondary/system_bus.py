"""A connection to one name on the system bus, by dbus-fast (extra `dbus`), made again whenever it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from dbus_fast import BusType, DBusError, Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus

from tlsrt import Denied, Failed, NotFound, Unavailable

ANSWER_S = 5.0
RETRY_S = 2.0
PROPERTIES = "org.freedesktop.DBus.Properties"
_BUS, _BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
_AWAY = ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "Spawn.ServiceNotFound", "NoServer")
_REFUSED = ("AccessDenied", "InteractiveAuthorizationRequired", "AuthFailed")
_ABSENT = ("NoSuchUnit", "UnknownObject")


class SystemBus:
    """One connection; `joined` is awaited each time that it is made, `heard` is called with each signal."""

    def __init__(
        self,
        name: str,
        joined: Callable[[], Awaitable[None]],
        heard: Callable[[Message], None],
        *,
        begins: bool = True,
    ) -> None:
        self._name = name
        self._joined = joined
        self._heard = heard
        self._flags = MessageFlag.NONE if begins else MessageFlag.NO_AUTOSTART  # of a daemon that does not run
        self._bus: MessageBus | None = None
        self.problem = "it was not tried yet"  # why there is no connection

    @property
    def is_there(self) -> bool:
        """Return whether there is a connection."""
        return self._bus is not None

    async def keep(self) -> None:
        """Stay on the bus, for ever."""
        while True:
            bus = None
            try:
                async with asyncio.timeout(ANSWER_S * 2):
                    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
                    bus.add_message_handler(self._take)
                    self._bus = bus
                    await self._joined()
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
                self.problem = "the connection was closed"
            except TimeoutError:
                self.problem = "it did not answer in time"
            except (OSError, EOFError, ValueError, DBusError) as error:
                self.problem = str(error) or type(error).__name__
            except (Failed, Denied, NotFound, Unavailable) as error:
                self.problem = error.message
            finally:
                self._bus = None
                if bus is not None:
                    bus.disconnect()
            await asyncio.sleep(RETRY_S)

    def _take(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.sender != _BUS:
            self._heard(message)

    async def match(self, rule: str) -> None:
        """Have signals of the name sent that fit a rule of D-Bus. Raises as `call` does."""
        await self._ask(Message(_BUS, _BUS_PATH, _BUS, "AddMatch", signature="s",
                                body=[f"type='signal',sender='{self._name}',{rule}"]))  # fmt: skip

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        """Return all properties of an interface of an object. Raises as `call` does."""
        body = await self.call(path, PROPERTIES, "GetAll", "s", interface)
        found = body[0] if body else None
        if not isinstance(found, dict):
            raise Failed(f"{self._name} answered GetAll with something else than properties")
        return {str(key): plain(value) for key, value in found.items()}

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: object) -> list[Any]:
        """Call a method; raises Unavailable (away, slow), Denied, NotFound or Failed, each with a sentence."""
        asked = Message(self._name, path, interface, member, flags=self._flags, signature=signature, body=list(body))
        return await self._ask(asked)

    async def _ask(self, message: Message) -> list[Any]:
        if self._bus is None:
            raise Unavailable(f"there is no {self._name} on the system bus of this host: {self.problem[:200]}")
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._bus.call(message)
        except TimeoutError:
            raise Unavailable(f"{self._name} did not answer {message.member} within {ANSWER_S:g} s") from None
        except (OSError, EOFError) as error:
            raise Unavailable(f"the connection to the bus broke: {error or type(error).__name__}") from None
        if answer is None:
            raise Unavailable(f"{self._name} did not answer {message.member}")
        if answer.message_type is not MessageType.ERROR:
            return list(answer.body)
        name, text = answer.error_name or "no reply", str(answer.body[0] if answer.body else "")[:200]
        if name.endswith(_AWAY):
            raise Unavailable(f"{self._name} is not on the system bus of this host: {text or name}")
        if name.endswith(_REFUSED):
            raise Denied(f"{self._name} refuses {message.member}: {text or name}")
        if name.endswith(_ABSENT):
            raise NotFound(f"{self._name}: {text or name}")
        raise Failed(f"{self._name} failed {message.member}: {text or name}")


def plain(value: object) -> Any:
    """Return what a Variant holds, or the value itself."""
    return value.value if isinstance(value, Variant) else value
