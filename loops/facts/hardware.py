"""The hardware of the host as the kernel shows it in /sys and /proc, and what comes to it. Reads only.

Null means "no such sensor", never 0.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypedDict

from tlsrt import (
    Component,
    Failed,
    Length,
    MisuseError,
    NotFound,
    Range,
    Uevent,
    every,
    handler,
)
from tlsrt.loops.facts.block_devices import BlockDevice, block_devices
from tlsrt.loops.facts.file_systems import FileSystem, Fullness, file_systems
from tlsrt.loops.facts.known_devices import (
    NAME_MAX,
    DeviceName,
    KnownDevices,
    device_of_event,
    devices_there,
    read_learned,
    write_learned,
)
from tlsrt.loops.facts.machine import (
    Processors,
    Tpm,
    Watchdog,
    is_virtual,
    read_dmi,
    read_processors,
    read_tpms,
    read_watchdogs,
)
from tlsrt.loops.facts.sensors import (
    Fan,
    MemoryController,
    Temperature,
    ThermalZone,
    read_fans,
    read_memory_controllers,
    read_temperatures,
    read_thermal_zones,
)
from tlsrt.loops.sampling.procfs import clocks, names, read_int, read_numbers, read_text
from tlsrt.loops.sampling.samples import Samples

_TOLD_MAX = 20  # unknown devices in a minute
_UNKNOWN_MAX = 1024
_EVENTS = ("add", "remove", "change", "move", "online", "offline")

DeviceText = Annotated[str, Length(NAME_MAX, 3)]


class Adapter(TypedDict):
    """One network adapter; null for what its driver does not tell."""

    name: str
    address: str | None
    virtual: bool
    state: str | None
    speed_mbit: int | None


class Device(TypedDict):
    """A USB device or a disk, and whether it may be there."""

    name: str
    path: str
    virtual: bool
    known: bool


class Hardware(Component):
    """Facts about the machine: processors, memory, disks, network adapters, sensors, identity; and what comes to it."""

    class Options:
        """What is almost full, and which devices may come."""

        almost_full_percent: Annotated[float, Range(1, 100), "From here on a file system is almost full."] = 90.0
        enough_room_percent: Annotated[float, Range(0, 100), "Below this it no longer is."] = 85.0
        known_devices: Annotated[
            tuple[str, ...],
            Length(256),
            "Devices that may come, by their names in `devices`; * and ? stand for anything.",
        ] = ()
        learn: Annotated[bool, "Take all devices that are there at the very first start for known."] = True
        virtual: Annotated[bool, "Watch disks that the kernel makes itself, too: loop, zram, dm."] = False

        def __post_init__(self) -> None:
            if self.enough_room_percent >= self.almost_full_percent:
                raise ValueError("enough_room_percent must be below almost_full_percent")

    topics = {  # noqa: RUF012
        "device": "{action, subsystem, name, dropped}: a device has come, gone or changed",
        "unknown_device": "{name, path, event}: a USB device or disk that is not known is there",
        "file_system": "{change: almost_full | enough_room, file_system}",
    }

    proc = Path("/proc")
    sys = Path("/sys")

    def __init__(self) -> None:
        self._summary = Samples(self._read_summary)
        self._blocks = Samples(lambda: block_devices(self.sys))
        self._file_systems = Samples(lambda: file_systems(self.proc))
        self._known = KnownDevices(())
        self._unknown: dict[str, str] = {}  # path: name; unknown devices that were told of, and are there
        self._told: list[float] = []  # when, monotonic

    async def start(self) -> None:
        options = self.options
        self._fullness = Fullness(options.almost_full_percent, options.enough_room_percent)
        learned = read_learned(self._file)
        known = partial(KnownDevices, options.known_devices, takes_virtual=options.virtual)
        self._known = known(learned or ())
        if learned is None and options.learn:
            self._known = known(one.name for one in devices_there(self.sys) if not self._known.has(one))
            try:
                self._keep()
            except Failed as error:  # a full disk is no reason not to start
                self.log.warning("%s", error)
        if absent := self._absent():
            self.log.info("not there, or not shown: %s", ", ".join(absent))
        self._look_at_devices("start")
        try:
            events = self.host_events("uevents")
        except MisuseError:
            self.log.info("devices that come are looked for every 30 s only: uevents are not granted")
            return
        self.spawn(partial(self._listen, events), name="uevents", restart=False)

    def healthy(self) -> str | None:
        return None if names(self.sys / "class") else "/sys shows nothing"

    @property
    def _file(self) -> Path:
        return self.state / "known-devices.json"

    # What is there

    @handler(idempotent=True)
    async def summary(self) -> dict[str, Any]:
        """Processor, memory, disks, network adapters and temperatures (null without sensors) in one answer."""
        return self._summary.now()

    def _read_summary(self) -> dict[str, Any]:
        total = read_numbers(self.proc / "meminfo").get("MemTotal")
        return {
            "cpu": read_processors(self.proc, self.sys),
            "memory_total_bytes": None if total is None else total * 1024,
            "disks": [disk for disk in self._blocks.now() if disk["size_bytes"] and not disk["virtual"]],
            "network_adapters": self._adapters(),
            "temperatures": read_temperatures(self.sys) or None,
            "fans": read_fans(self.sys) or None,
            "machine": read_dmi(self.sys),
            "virtual": is_virtual(self.proc),
            **clocks(),
        }

    @handler(idempotent=True)
    async def absent(self) -> list[str]:
        """What this host has not, or does not show to this component: sensors, firmware, errors of memory and so on."""
        return self._absent()

    def _absent(self) -> list[str]:
        found: dict[str, object] = {
            "temperatures": read_temperatures(self.sys), "fans": read_fans(self.sys),
            "thermal zones": read_thermal_zones(self.sys), "errors of memory": read_memory_controllers(self.sys),
            "watchdogs": read_watchdogs(self.sys), "TPM": read_tpms(self.sys), "DMI": read_dmi(self.sys),
            "USB": names(self.sys / "bus/usb/devices"), "file systems": self._file_systems.now(),
        }  # fmt: skip
        return [name for name, what in found.items() if not what]

    @handler(idempotent=True)
    async def cpu(self) -> Processors:
        """Model, online processors, cores, sockets, and the speed limits in MHz (null without cpufreq)."""
        return read_processors(self.proc, self.sys)

    @handler(idempotent=True)
    async def block(self) -> list[BlockDevice]:
        """Every block device: size and traffic in bytes, kind, and its errors (null where they are not counted)."""
        return self._blocks.now()

    @handler(idempotent=True)
    async def file_systems(self) -> list[FileSystem]:
        """Every file system of the host that this component is shown a place of, and how full it is."""
        return self._file_systems.now()

    @handler(idempotent=True)
    async def adapters(self) -> list[Adapter]:
        """Every network adapter: address, state, and speed in Mbit/s (null if unknown)."""
        return self._adapters()

    def _adapters(self) -> list[Adapter]:
        folder = self.sys / "class/net"
        return [
            {
                "name": name,
                "address": read_text(folder / name / "address"),
                "virtual": not (folder / name / "device").exists(),
                "state": read_text(folder / name / "operstate"),
                "speed_mbit": _positive(read_int(folder / name / "speed")),
            }
            for name in names(folder)
            if (folder / name).is_dir()  # bonding_masters is a file
        ]

    @handler(idempotent=True)
    async def temperatures(self) -> list[Temperature] | None:
        """Every temperature in degrees Celsius with its limits, from hwmon and thermal zones; null without a sensor."""
        return read_temperatures(self.sys) or None

    @handler(idempotent=True)
    async def fans(self) -> list[Fan] | None:
        """Every fan in revolutions per minute; null without one."""
        return read_fans(self.sys) or None

    @handler(idempotent=True)
    async def thermal_zones(self) -> list[ThermalZone] | None:
        """Every thermal zone with the temperatures at which the kernel acts; null without one."""
        return read_thermal_zones(self.sys) or None

    @handler(idempotent=True)
    async def memory_errors(self) -> list[MemoryController] | None:
        """Corrected and uncorrected errors of memory by controller (EDAC); null where nothing counts them."""
        return read_memory_controllers(self.sys) or None

    @handler(idempotent=True)
    async def watchdogs(self) -> list[Watchdog] | None:
        """Every watchdog: whether it runs, its time in seconds, whether it caused the last boot; null without one."""
        return read_watchdogs(self.sys) or None

    @handler(idempotent=True)
    async def tpms(self) -> list[Tpm] | None:
        """Every TPM and the version of its interface; null without one."""
        return read_tpms(self.sys) or None

    @handler(idempotent=True)
    async def dmi(self) -> dict[str, str | None] | None:
        """Vendor, product, board and firmware as the firmware tells them (no serial numbers); null without DMI."""
        return read_dmi(self.sys)

    # What may be there

    @handler(idempotent=True)
    async def devices(self) -> list[Device]:
        """Every USB device and disk by the name that it gives itself, and whether it is known."""
        return [
            {"name": one.name, "path": one.path, "virtual": one.is_virtual, "known": self._known.has(one)}
            for one in devices_there(self.sys)
        ]

    @handler(idempotent=True)
    async def learn(self, name: DeviceText) -> None:
        """Take a device for known from now on, by its name in `devices`; over restarts."""
        if not self._known.learn(name):
            raise Failed("too many devices were learned: forget some, or declare a pattern under known_devices")
        self._keep()

    @handler(idempotent=True)
    async def forget(self, name: DeviceText) -> None:
        """Take a learned device for unknown from now on; error `not_found` if it was not learned."""
        if not self._known.forget(name):
            raise NotFound(f"{name} was not learned")
        self._keep()

    def _keep(self) -> None:
        """Write what is known. Not in a thread: it is small and rare, and this process could start none."""
        try:
            write_learned(self._file, self._known.learned)
        except OSError as error:
            raise Failed(f"cannot keep what is known: {error.strerror}; it is forgotten at the next start") from error

    # What happens

    async def _listen(self, events: Any) -> None:
        async for event in events:
            self._take(event)

    def _take(self, event: Uevent) -> None:
        """Tell of one uevent. What the kernel says of a driver that binds is left out: it tells nothing of a device."""
        self.count("uevents")
        if event.dropped:
            self.count("uevents_dropped", event.dropped)
        if event.action not in _EVENTS:
            return
        name = event.devname or event.devpath
        told = {"action": event.action, "subsystem": event.subsystem, "name": name, "dropped": event.dropped}
        self.publish("device", told)
        devtype, is_gone = event.properties.get("DEVTYPE", ""), event.action == "remove"
        device = device_of_event(self.sys, event.subsystem, devtype, event.devpath, is_gone=is_gone)
        if device is not None:
            self._judge(device, event.action)

    def _look_at_devices(self, event: str) -> None:
        there = devices_there(self.sys)
        paths = {device.path for device in there}
        self._unknown = {path: name for path, name in self._unknown.items() if path in paths}
        for device in there:
            self._judge(device, event)

    def _judge(self, device: DeviceName, event: str) -> None:
        """Tell of a device that is not known, once as long as it is there; too many in a minute have to wait."""
        if event == "remove" or self._known.has(device):
            self._unknown.pop(device.path, None)
            return
        if self._unknown.get(device.path) == device.name:
            return
        now = time.monotonic()
        self._told = [at for at in self._told if now - at < 60][-_TOLD_MAX:]
        if len(self._told) >= _TOLD_MAX:
            return  # the next look tells of it, if it is there then
        if len(self._unknown) < _UNKNOWN_MAX or device.path in self._unknown:
            self._unknown[device.path] = device.name
        self.count("unknown_devices")
        self._told.append(now)
        self.log.warning("unknown device %s at %s (%s)", device.name, device.path, event)
        self.publish("unknown_device", {"name": device.name, "path": device.path, "event": event})
        with suppress(MisuseError):  # an operator may take the alert away
            self.alert("unknown_device")

    @every("30s", jitter="2s")
    async def look(self) -> None:
        """Tell of file systems that are almost full or have room again, and of devices that no event told of."""
        for change, one in self._fullness.look(self._file_systems.now()):
            share = max(one["used_percent"] or 0, one["files_used_percent"] or 0)
            self.log.warning("%s on %s: %s, %.1f %% used", one["kind"], one["source"], change.replace("_", " "), share)
            self.publish("file_system", {"change": change, "file_system": one})
        self.gauge("file_systems_almost_full", len(self._fullness.full))
        self._look_at_devices("look")


def _positive(number: int | None) -> int | None:
    """A speed of -1 means unknown."""
    return number if number is not None and number > 0 else None
