"""The grants of a process: devices that come over its life channel, and settings that are asked for on it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from tlsrt.channels.control.host_event import EVENT_MAX, decode_uevent_untrusted
from tlsrt.channels.control.kernel_record import decode_record_untrusted
from tlsrt.channels.control.life import (
    SETTINGS_AT_ONCE,
    SETTINGS_PER_S,
    SETTINGS_WAITING,
    AskOutcome,
    AskWhat,
    DeviceMessage,
    HelpedMessage,
    HostEventsMessage,
)
from tlsrt.channels.control.network_change import decode_change_untrusted
from tlsrt.channels.control.pressure import decode_pressure_untrusted
from tlsrt.channels.control.process_table import decode_table_untrusted
from tlsrt.config.components import ComponentConfig
from tlsrt.config.host_settings import SettingConfig
from tlsrt.config.runtime_rights import Act
from tlsrt.config.schema import Config
from tlsrt.errors import Busy, Failed, InvalidArgument, MisuseError, OutcomeUnknown, PeerError, Unavailable
from tlsrt.loops.component.device import Device, arrive
from tlsrt.loops.component.host_archive import HostArchive
from tlsrt.loops.component.host_events import HostEvent, HostEventFeed
from tlsrt.loops.component.runtime_file import RuntimeFile
from tlsrt.loops.runtime.alerts import ProcessAlerts
from tlsrt.loops.runtime.device_lines import DeviceLines
from tlsrt.loops.runtime.device_paths import DevicePaths
from tlsrt.loops.runtime.life_orders import Orders
from tlsrt.loops.runtime.relay import Relay
from tlsrt.loops.runtime.runtime_door import RuntimeDoor
from tlsrt.rate_limit import Bucket
from tlsrt.text import did_you_mean

_LOW = (1 << 64) - 1
ANSWER_S = 70.0  # beyond what the supervisor waits for the audit log at most

Ask = Callable[[int, int, int, int, int, int], None]  # number, AskWhat, grant, value, high, choice


FIRST_S = 0.5  # a device that is plugged in is there after some 10 ms
EVENTS_AT_ONCE = 32  # before the handlers of components have their turn
_DECODERS: Mapping[str, Callable[[bytes], HostEvent]] = {
    "uevents": decode_uevent_untrusted, "pressure": decode_pressure_untrusted, "kernel_log": decode_record_untrusted,
    "network": decode_change_untrusted, "processes": decode_table_untrusted,
}  # fmt: skip


class ProcessGrants:
    """All grants of one process, by the numbers that its life channel has for them."""

    def __init__(
        self, config: Config, process: str, ask: Ask, alert: Callable[[int, int], None],
        ask_runtime: Callable[[int, int, int, bytes, bytes], None],
    ) -> None:  # fmt: skip
        self._ask = ask
        self._runtime = RuntimeDoor(config, process, ask_runtime)
        self._alerts = ProcessAlerts(config, process, alert)
        self._number = 0
        self._waiting: dict[int, asyncio.Future[HelpedMessage]] = {}
        self._rate = Bucket(SETTINGS_AT_ONCE, SETTINGS_PER_S)
        self._devices = [
            (component.address, Device(device.name, device.granted_mode, partial(self._lost, grant), device.path))
            for grant, (component, device) in enumerate(config.devices_of(process))
        ]
        configs = [device for _, device in config.devices_of(process)]
        lines = DeviceLines([(one, device) for one, (_, device) in zip(configs, self._devices, strict=True)])
        self.paths = DevicePaths({device.path: device for _, device in self._devices}, lines)
        self._settings = list(config.host_settings_of(process))
        self._events: list[tuple[str, str]] = [
            (owner.address, events.kind) for owner, events in config.host_events_of(process)
        ]
        self._feeds = {key: HostEventFeed() for key in self._events}
        self._told_on: dict[int, socket.socket] = {}  # by grant

    @property
    def has_devices(self) -> bool:
        """Whether descriptors may come."""
        return bool(self._devices or self._events)

    async def devices_come(self) -> None:
        """Wait for devices that are there: a library that opens one in `start` does not wait. Of bounded time."""
        if not self._devices:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_S):
                for _, device in self._devices:
                    await device.present()

    @property
    def orders(self) -> Orders:
        """Return what takes the messages about grants."""
        return {
            "device": lambda fields, descriptors: self.device_came(fields, descriptors[0]),
            "host_events": lambda fields, descriptors: self.events_come(fields, descriptors[0]),
            "helped": lambda fields, descriptors: self.answered(fields),
            "runtime_said": lambda fields, descriptors: self._runtime.answered(fields),
            "runtime_file": lambda fields, descriptors: self._runtime.file_came(fields, descriptors[0]),
            "runtime_archive": lambda fields, descriptors: self._runtime.archive_came(fields, descriptors[0]),
        }

    def of(self, component: ComponentConfig) -> ComponentGrants:
        """Return those of one component."""
        devices = {device.name: device for address, device in self._devices if address == component.address}
        settings = {
            setting.name: (grant, setting)
            for grant, (owner, setting) in enumerate(self._settings)
            if owner.address == component.address
        }
        feeds = {kind: feed for (address, kind), feed in self._feeds.items() if address == component.address}
        alert = partial(self._alerts.report, component.address)
        relay = component.needs.relay
        reach = None if relay is None else Relay(relay.reaches)
        return ComponentGrants(component.address, devices, settings, self.change, feeds, alert, reach, self._runtime)

    def events_come(self, message: HostEventsMessage, descriptor: int) -> None:
        """Take the socket over which the helper tells the events of a grant. Raises PeerError for another grant."""
        if message.grant >= len(self._events):
            os.close(descriptor)
            raise PeerError("no_such_events")
        loop = asyncio.get_running_loop()
        if (before := self._told_on.get(message.grant)) is not None:
            loop.remove_reader(before.fileno())
            before.close()
        self._told_on[message.grant] = told_on = socket.socket(fileno=descriptor)
        loop.add_reader(descriptor, self._hear, self._events[message.grant], told_on)

    def _hear(self, key: tuple[str, str], told_on: socket.socket) -> None:
        for _ in range(EVENTS_AT_ONCE):
            try:
                data = told_on.recv(EVENT_MAX + 1)
                event = _DECODERS[key[1]](data) if data else None
            except BlockingIOError:
                return
            except (OSError, PeerError):  # of a helper that is captured, or has ended: another one comes
                event = None
            if event is None:
                asyncio.get_running_loop().remove_reader(told_on.fileno())
                return
            self._feeds[key].take(event)

    def device_came(self, message: DeviceMessage, descriptor: int) -> None:
        """Take a device that is there. Raises PeerError for one that this process has not."""
        if message.grant >= len(self._devices):
            os.close(descriptor)
            raise PeerError("no_such_device")
        arrive(self._devices[message.grant][1], descriptor)

    def answered(self, message: HelpedMessage) -> None:
        """Take the answer to something that was asked."""
        waiting = self._waiting.pop(message.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _lost(self, grant: int) -> None:
        self._say(AskWhat.DEVICE_LOST, grant, 0, 0)

    def _say(self, what: AskWhat, grant: int, value: int, choice: int) -> int:
        self._number += 1
        self._ask(self._number, int(what), grant, value & _LOW, value >> 64, choice)
        return self._number

    async def change(self, what: AskWhat, grant: int, value: int, choice: int, name: str) -> None:
        """Have a setting made or undone, and wait for how that ended. Raises CallErrors."""
        now = asyncio.get_running_loop().time()
        if len(self._waiting) >= SETTINGS_WAITING or not self._rate.take(now):
            raise Busy(f"{name}: too many settings at once; try again")
        try:
            number = self._say(what, grant, value, choice)
        except PeerError as error:
            raise Busy(f"{name}: the supervisor does not listen now: {error.reason}") from None
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await waiting
        except TimeoutError:
            raise OutcomeUnknown(f"{name}: no answer in {ANSWER_S:g} s") from None
        finally:
            self._waiting.pop(number, None)
        _raise_if_bad(name, answer)


def _raise_if_bad(name: str, answer: HelpedMessage) -> None:
    if answer.outcome == AskOutcome.BUSY:
        raise Busy(f"{name}: too many settings at once, or the helper is away; try again")
    if answer.outcome == AskOutcome.UNRECORDED:
        raise Unavailable(f"{name}: the audit log did not take it, so nothing was written")
    if answer.outcome == AskOutcome.UNKNOWN:
        raise OutcomeUnknown(f"{name}: the helper ended before it answered, so it may have been written or not")
    if answer.outcome != AskOutcome.DONE:
        raise Failed(f"{name}: the kernel refused it: {os.strerror(answer.error or errno.EACCES)}")


class ComponentGrants:
    """The `Grants` of one component."""

    def __init__(
        self, address: str, devices: dict[str, Device], settings: dict[str, tuple[int, SettingConfig]],
        change: Callable[[AskWhat, int, int, int, str], Coroutine[Any, Any, None]], feeds: Mapping[str, HostEventFeed],
        alert: Callable[[str], None], relay: Relay | None, runtime: RuntimeDoor,
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._address = address
        self._relay = relay
        self._devices = devices
        self._settings = settings
        self._change = change
        self._feeds = feeds
        self.alert = alert

    def host_events(self, kind: str) -> AsyncIterator[HostEvent]:
        if kind not in self._feeds:
            raise MisuseError(f"{self._address} hears no {kind!r}: name it under `needs: events`")
        return self._feeds[kind].follow()

    async def runtime_do(
        self, act: str, target: str, within_s: float = 0, *, subject: str = "", asked_by: str = ""
    ) -> None:
        await self._runtime.do(self._address, Act(act), target, within_s, subject=subject, asked_by=asked_by)

    def runtime_targets(self, act: str) -> tuple[str, ...]:
        return self._runtime.targets(self._address, Act(act))

    async def runtime_states(self) -> dict[str, str]:
        return await self._runtime.states(self._address)

    async def runtime_files(self, kind: str, most: int) -> list[RuntimeFile]:
        return await self._runtime.files(self._address, Act(kind), most)

    async def runtime_archive(self) -> HostArchive:
        return await self._runtime.archive(self._address)

    async def reach_for(self, caller: str, host: str, port: int) -> list[str]:
        if self._relay is None:
            raise MisuseError(f"{self._address} reaches nothing for others: name `relay` under its needs")
        return await self._relay.reach_for(caller, host, port)

    def device(self, name: str) -> Device:
        found = self._devices.get(name)
        if found is None:
            hint = did_you_mean(name, self._devices)
            raise MisuseError(f"{self._address} has no device {name!r}{hint}: name it under `needs: devices`")
        return found

    async def set(self, name: str, value: int | str) -> None:
        await self._ask(AskWhat.SET, name, value)

    async def unset(self, name: str, value: int | str) -> None:
        await self._ask(AskWhat.UNSET, name, value)

    async def _ask(self, what: AskWhat, name: str, value: int | str) -> None:
        found = self._settings.get(name)
        if found is None:
            hint = did_you_mean(name, self._settings)
            raise MisuseError(f"{self._address} has no setting {name!r}{hint}: name it under `needs: settings`")
        grant, setting = found
        if what is AskWhat.UNSET and setting.reversible is None:
            raise MisuseError(f"{self._address} cannot unset {name}: a file has a value always; set another one")
        try:
            number, choice = setting.chosen(value)
        except ValueError as error:
            raise InvalidArgument(f"{name} {error}") from None
        await self._change(what, grant, number, choice, name)
