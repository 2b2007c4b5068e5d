"""One question to a service of the system bus, by dbus-fast (extra `dbus`): connect, ask, and leave.

For what is asked now and then. The library is imported by `load`, while code can be read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tlsrt import Denied, Failed, Unavailable

if TYPE_CHECKING:
    from dbus_fast import Message

ANSWER_S = 10.0
WITHOUT = "it needs dbus-fast: pip install 'tlsrt[dbus]', then restart this component"
_TEXT_MAX = 200


def load() -> bool:
    """Import the library; tell whether it is there. Call it in `warm_up`."""
    try:
        import dbus_fast.aio  # noqa: F401
    except ImportError:
        return False
    return True


async def ask(
    name: str, path: str, interface: str, member: str, signature: str = "", *body: object, begins: bool = False
) -> list[Any]:
    """Return what a method answers; with `begins` a service that does not run is begun.

    Raises Unavailable where there is no bus, or nothing of that name on it, Denied, and Failed.
    """
    from dbus_fast import BusType, DBusError, Message, MessageFlag
    from dbus_fast.aio import MessageBus

    flags = MessageFlag.NONE if begins else MessageFlag.NO_AUTOSTART
    message = Message(name, path, interface, member, flags=flags, signature=signature, body=list(body))
    bus: MessageBus | None = None
    try:
        async with asyncio.timeout(ANSWER_S):
            bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            return _body(name, await bus.call(message))
    except TimeoutError:
        raise Unavailable(f"{name} did not answer {member} within {ANSWER_S:g} s") from None
    except (OSError, EOFError, ValueError, DBusError) as error:
        why = str(error)[:_TEXT_MAX] or type(error).__name__
        raise Unavailable(f"there is no system bus for this component: {why}") from None
    finally:
        if bus is not None:
            bus.disconnect()


def _body(name: str, answer: Message | None) -> list[Any]:
    from dbus_fast import MessageType

    if answer is None:
        raise Unavailable(f"{name} did not answer")
    if answer.message_type is not MessageType.ERROR:
        return list(answer.body)
    kind, text = answer.error_name or "", str(answer.body[0] if answer.body else "")[:_TEXT_MAX]
    if kind.endswith(("ServiceUnknown", "NameHasNoOwner", "NoReply", "Spawn.ServiceNotFound")):
        raise Unavailable(f"{name} is not on the system bus of this host")
    if kind.endswith(("AccessDenied", "InteractiveAuthorizationRequired", "AuthFailed")):
        raise Denied(f"{name} refuses it: {text or kind}")
    raise Failed(f"{name} failed: {text or kind}")
