"""The daemons of power on D-Bus: upowerd, power-profiles-daemon and logind.

What a signal says is not believed: it only makes the next reading come at once, which asks the name's owner. Each
answer is judged as what a peer says: a percentage is a number from 0 to 100, or it is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlsrt import OutcomeUnknown
from tlsrt.bus import PROPERTIES, Bus, Message, NoAnswer, Variant
from tlsrt.loops.forth.policy_rules import PROFILES, Sample

ANSWER_S = 2.0
UPOWER, UPOWER_PATH = "org.freedesktop.UPower", "/org/freedesktop/UPower"
DISPLAY = f"{UPOWER_PATH}/devices/DisplayDevice"
PPD, PPD_PATH = "org.freedesktop.UPower.PowerProfiles", "/org/freedesktop/UPower/PowerProfiles"
LOGIND, LOGIND_PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
_METHODS = {"suspend": "Suspend", "hibernate": "Hibernate", "reboot": "Reboot", "power_off": "PowerOff"}
_KINDS = (1, 2, 3)  # UpDeviceKind: line power, battery, UPS


class PowerBus:
    """The three of them on one bus. `on_change` is called when something may have changed."""

    def __init__(self, address: str, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._bus = Bus(self._joined, self._heard, address=address, answer_s=ANSWER_S)
        self.keep = self._bus.keep
        self._upower, self._profiles, self._logind = map(self._bus.peer, (UPOWER, PPD, LOGIND))
        self.odd = 0  # answers that were not believed

    async def _joined(self) -> None:
        await self._upower.match(f"interface='{PROPERTIES}'")
        self._on_change()

    def _heard(self, message: Message) -> None:
        if message.member == "PropertiesChanged":
            self._on_change()

    async def sample(self) -> Sample:
        """Ask upowerd. Raises as `BusPeer.call` does."""
        on_battery = await self._upower.get(UPOWER_PATH, UPOWER, "OnBattery")
        device = await self._upower.properties(DISPLAY, f"{UPOWER}.Device")
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
        name = await self._profiles.get(PPD_PATH, PPD, "ActiveProfile")
        return name if name in PROFILES else None

    async def set_profile(self, name: str) -> None:
        """Put a profile in force. Raises as `sample` does."""
        await self._profiles.set(PPD_PATH, PPD, "ActiveProfile", Variant("s", name))

    async def end_machine(self, action: str) -> None:
        """Have logind suspend, hibernate, reboot or power off. Raises as `sample` does, and OutcomeUnknown."""
        try:
            await self._logind.call(LOGIND_PATH, f"{LOGIND}.Manager", _METHODS[action], "b", False)
        except NoAnswer as error:  # a machine that ends takes the bus along
            raise OutcomeUnknown(f"{action}: {error}; it may have been done") from None


def _percent_untrusted(said: object) -> float | None:
    if not isinstance(said, int | float) or isinstance(said, bool):
        return None
    return round(float(said), 2) if 0 <= said <= 100 else None  # what is no number (NaN) is not within
