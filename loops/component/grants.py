"""What a component is granted of the host beyond its process: devices and settings. The port, and one with nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from tlsrt.channels.control.host_event import Uevent
from tlsrt.errors import MisuseError
from tlsrt.loops.component.device import Device


class Grants(Protocol):
    """The runtime's side of `Component.device` and `Component.set`."""

    def device(self, name: str) -> Device:
        """Return a device. Raises MisuseError for one that is not granted."""
        ...

    def set(self, name: str, value: int) -> Coroutine[Any, Any, None]:
        """Have a setting written. Raises CallErrors, and MisuseError for one that is not granted."""
        ...

    def host_events(self, kind: str) -> AsyncIterator[Uevent]:
        """Return the events of a kind from now on. Raises MisuseError for one that is not granted."""
        ...


class NoGrants:
    """The grants of a component that has none."""

    def device(self, name: str) -> Device:
        raise MisuseError(f"device {name!r} is not granted: name it under `needs: devices`")

    async def set(self, name: str, value: int) -> None:
        raise MisuseError(f"setting {name!r} is not granted: name it under `needs: settings`")

    def host_events(self, kind: str) -> AsyncIterator[Uevent]:
        raise MisuseError(f"events {kind!r} are not granted: name them under `needs: events`")
