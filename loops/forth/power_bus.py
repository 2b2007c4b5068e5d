"""The daemons of power on D-Bus, by dbus-fast: upowerd, power-profiles-daemon and logind.

What a signal says is not believed: it only makes the next reading come at once, which asks the name's owner. Each
answer is judged as what a peer says: a percentage is a number from 0 to 100, or it is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dbus_fast import BusType, DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from tlsrt import Failed, OutcomeUnknown, Unavailable
from tlsrt.loops.forth.policy_rules import PROFILES, Sample

ANSWER_S = 2.0
PROPERTIES = "org.freedesktop.DBus.Properties"
BUS = "org.freedesktop.DBus"
UPOWER, UPOWER_PATH = "org.freedesktop.UPower", "/org/freedesktop/UPower"
DISPLAY = f"{UPOWER_PATH}/devices/DisplayDevice"
PPD, PPD_PATH = "org.freedesktop.UPower.PowerProfiles", "/org/freedesktop/UPower/PowerProfiles"
LOGIND, LOGIND_PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
_METHODS = {"suspend": "Suspend", "hibernate": "Hibernate", "reboot": "Reboot", "power_off": "PowerOff"}
RETRY_S = 5.0
_KINDS = (1, 2, 3)  # UpDeviceKind: line power, battery, UPS


class _Lost(Unavailable):
    """It was asked, and no answer came: it may have been done."""


class PowerBus:
    """One connection, made again when it breaks. `on_change` is called when something may have changed."""

    def __init__(self, address: str, on_change: Callable[[], None], log: Callable[[str], None]) -> None:
        self._address = address
        self._on_change = on_change
        self._log = log
        self._bus: MessageBus | None = None
        self.odd = 0  # answers that were not believed

    @property
    def is_connected(self) -> bool:
        return self._bus is not None

    async def keep(self) -> None:
        """Stay on the bus, for ever."""
        while True:
            bus = None
            try:
                async with asyncio.timeout(ANSWER_S * 2):
                    bus = await MessageBus(self._address or None, BusType.SYSTEM).connect()
                bus.add_message_handler(self._heard)
                rule = f"type='signal',sender='{UPOWER}',interface='{PROPERTIES}'"
                await self._on(bus, BUS, "/org/freedesktop/DBus", BUS, "AddMatch", "s", rule)
                self._bus = bus
                self._on_change()
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
            except (OSError, EOFError, Failed, Unavailable, DBusError, ValueError) as error:
                self._log(f"no bus: {str(error) or type(error).__name__}")
            finally:
                self._bus = None
                if bus is not None:
                    bus.disconnect()
            await asyncio.sleep(RETRY_S)

    def _heard(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.member == "PropertiesChanged":
            self._on_change()

    async def sample(self) -> Sample:
        """Ask upowerd. Raises Unavailable if it is away or slow, and Failed with what it says."""
        on_battery = await self._get(UPOWER, UPOWER_PATH, UPOWER, "OnBattery")
        device = await self._all(UPOWER, DISPLAY, f"{UPOWER}.Device")
        return self.sample_untrusted(on_battery, device)

    def sample_untrusted(self, on_battery: object, device: dict[str, Any]) -> Sample:
        """Return what upowerd says, as far as it can be. Cannot fail."""
        if not isinstance(on_battery, bool):
            self.odd += 1
            on_battery = None
        percent = None
        if device.get("IsPresent") is True and device.get("Type") in _KINDS:
            percent = _percent_untrusted(device.get("Percentage"))
            self.odd += percent is None
        return Sample(on_battery=on_battery, percent=percent)

    async def profile(self) -> str | None:
        """Return the profile in force, None if the daemon names one that there is not. Raises as `sample` does."""
        name = await self._get(PPD, PPD_PATH, PPD, "ActiveProfile")
        return name if name in PROFILES else None

    async def set_profile(self, name: str) -> None:
        """Put a profile in force. Raises as `sample` does."""
        await self._call(PPD, PPD_PATH, PROPERTIES, "Set", "ssv", PPD, "ActiveProfile", Variant("s", name))

    async def end_machine(self, action: str) -> None:
        """Have logind suspend, hibernate, reboot or power off. Raises as `sample` does, and OutcomeUnknown."""
        try:
            await self._call(LOGIND, LOGIND_PATH, f"{LOGIND}.Manager", _METHODS[action], "b", False)
        except _Lost as error:  # a machine that ends takes the bus along
            raise OutcomeUnknown(f"{action}: {error}; it may have been done") from None

    async def _get(self, name: str, path: str, interface: str, what: str) -> object:
        body = await self._call(name, path, PROPERTIES, "Get", "ss", interface, what)
        return _plain(body[0]) if body else None

    async def _all(self, name: str, path: str, interface: str) -> dict[str, Any]:
        body = await self._call(name, path, PROPERTIES, "GetAll", "s", interface)
        found = body[0] if body else None
        return {str(key): _plain(value) for key, value in found.items()} if isinstance(found, dict) else {}

    async def _call(self, name: str, path: str, interface: str, member: str, *more: object) -> list[Any]:
        if self._bus is None:
            raise Unavailable("there is no bus: is it granted under `needs: buses`, and does its daemon run?")
        return await self._on(self._bus, name, path, interface, member, *more)

    @staticmethod
    async def _on(
        bus: MessageBus, name: str, path: str, interface: str, member: str, signature: Any = "", *body: object
    ) -> list[Any]:
        asked = Message(name, path, interface, member, signature=signature, body=list(body))
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await bus.call(asked)
        except TimeoutError:
            raise _Lost(f"{name} did not answer in {ANSWER_S:g} s") from None
        except (OSError, EOFError) as error:
            raise _Lost(f"the bus was lost: {str(error) or type(error).__name__}") from None
        if answer is None or answer.message_type is MessageType.ERROR:
            said = (answer.error_name if answer is not None else "") or "no reply"
            if said.endswith(("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected")):
                raise Unavailable(f"{name} does not run: {said[:100]}")
            raise Failed(f"{name}: {member}: {said[:100]}")
        return list(answer.body)


def _plain(value: object) -> object:
    return value.value if isinstance(value, Variant) else value


def _percent_untrusted(said: object) -> float | None:
    if not isinstance(said, int | float) or isinstance(said, bool):
        return None
    return round(float(said), 2) if 0 <= said <= 100 else None  # what is no number (NaN) is not within
