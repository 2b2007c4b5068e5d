"""The hardware of the host as the kernel shows it in /sys and /proc. Reads only; null means "no such sensor"."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tlsrt import Component, handler
from tlsrt.loops.sampling.procfs import clocks, names, read_int, read_numbers, read_text, scaled
from tlsrt.loops.sampling.samples import Samples

_CPUINFO_BYTES = 4 << 20  # 256 processors at 4 KiB each leave room
_SECTOR = 512  # /sys/block/*/size counts these, whatever the device (Documentation/block/stat.rst)
_DMI = ("bios_date", "bios_vendor", "bios_version", "board_name", "board_vendor", "chassis_type", "product_name",
        "product_version", "sys_vendor")  # fmt: skip
_MODEL_KEYS = ("model name", "Model", "Hardware", "cpu model", "cpu", "isa")  # x86, Arm boards, MIPS, POWER, RISC-V


class Hardware(Component):
    """Facts about the machine: processors, memory, disks, network adapters, sensors, identity."""

    class Options:
        """There are none."""

    proc = Path("/proc")
    sys = Path("/sys")

    def __init__(self) -> None:
        self._summary = Samples(self._read_summary)
        self._blocks = Samples(self._read_blocks)

    def healthy(self) -> str | None:
        return None if names(self.sys / "class") else "/sys shows nothing"

    @handler(idempotent=True)
    async def summary(self) -> dict[str, Any]:
        """Processor, memory, disks, network adapters and temperatures (null without sensors) in one answer."""
        return self._summary.now()

    def _read_summary(self) -> dict[str, Any]:
        total = read_numbers(self.proc / "meminfo").get("MemTotal")
        return {
            "cpu": self._cpu(),
            "memory_total_bytes": None if total is None else total * 1024,
            "disks": [disk for disk in self._blocks.now() if disk["size_bytes"] and not disk["virtual"]],
            "network_adapters": self._adapters(),
            "temperatures": self._temperatures(),
            "machine": self._dmi(),
            "virtual": self._hypervisor(),
            **clocks(),
        }

    @handler(idempotent=True)
    async def cpu(self) -> dict[str, Any]:
        """Model, online processors, cores, sockets, and the speed limits in MHz (null without cpufreq)."""
        return self._cpu()

    def _cpu(self) -> dict[str, Any]:
        blocks = self._cpuinfo()
        first = blocks[0] if blocks else {}
        policy = self.sys / "devices/system/cpu/cpu0/cpufreq"
        cores = {
            (block["physical id"], block["core id"]) for block in blocks if {"physical id", "core id"} <= set(block)
        }
        return {
            "model": next((first[key] for key in _MODEL_KEYS if key in first), None),
            "vendor": first.get("vendor_id"),
            "processors": len([block for block in blocks if "processor" in block]) or None,
            "online": read_text(self.sys / "devices/system/cpu/online"),
            "cores": len(cores) or None,
            "sockets": len({socket for socket, _ in cores}) or None,
            "minimum_mhz": scaled(read_int(policy / "cpuinfo_min_freq"), 1000),
            "maximum_mhz": scaled(read_int(policy / "cpuinfo_max_freq"), 1000),
            "microcode": first.get("microcode"),
        }

    def _cpuinfo(self) -> list[dict[str, str]]:
        text = read_text(self.proc / "cpuinfo", _CPUINFO_BYTES) or ""
        blocks: list[dict[str, str]] = []
        for block in re.split(r"\n\s*\n", text):
            pairs = (line.partition(":") for line in block.splitlines())
            blocks.append({key.strip(): value.strip() for key, colon, value in pairs if colon})
        return [block for block in blocks if block]

    @handler(idempotent=True)
    async def block(self) -> list[dict[str, Any]]:
        """Every block device: size in bytes, model, and whether it is virtual, removable, read-only or rotational."""
        return self._blocks.now()

    def _read_blocks(self) -> list[dict[str, Any]]:
        folder = self.sys / "block"
        return [self._block(folder / name) for name in names(folder)]

    def _block(self, device: Path) -> dict[str, Any]:
        sectors = read_int(device / "size")
        return {
            "name": device.name,
            "size_bytes": None if sectors is None else sectors * _SECTOR,
            "virtual": not (device / "device").exists(),
            "model": read_text(device / "device/model"),
            "removable": _flag(device / "removable"),
            "read_only": _flag(device / "ro"),
            "rotational": _flag(device / "queue/rotational"),
        }

    def _adapters(self) -> list[dict[str, Any]]:
        folder = self.sys / "class/net"
        return [
            {
                "name": name,
                "address": read_text(folder / name / "address"),
                "virtual": not (folder / name / "device").exists(),
                "speed_mbit": _positive(read_int(folder / name / "speed")),
            }
            for name in names(folder)
            if (folder / name).is_dir()  # bonding_masters is a file
        ]

    @handler(idempotent=True)
    async def temperatures(self) -> list[dict[str, Any]] | None:
        """Every temperature in degrees Celsius with its limits, from hwmon and thermal zones; null without a sensor."""
        return self._temperatures()

    def _temperatures(self) -> list[dict[str, Any]] | None:
        return [*self._hwmon(), *self._zones()] or None

    def _hwmon(self) -> list[dict[str, Any]]:
        folder = self.sys / "class/hwmon"
        found: list[dict[str, Any]] = []
        for chip in names(folder):
            for name in names(folder / chip):
                if match := re.fullmatch(r"(temp\d+)_input", name):
                    base = folder / chip / match[1]
                    found.append(
                        {
                            "sensor": read_text(folder / chip / "name") or chip,
                            "label": read_text(base.with_name(f"{match[1]}_label")) or match[1],
                            "celsius": scaled(read_int(folder / chip / name), 1000),
                            "high_celsius": scaled(read_int(base.with_name(f"{match[1]}_max")), 1000),
                            "critical_celsius": scaled(read_int(base.with_name(f"{match[1]}_crit")), 1000),
                        }
                    )
        return found

    def _zones(self) -> list[dict[str, Any]]:
        folder = self.sys / "class/thermal"
        return [
            {
                "sensor": read_text(folder / name / "type") or name,
                "label": name,
                "celsius": scaled(read_int(folder / name / "temp"), 1000),
                "high_celsius": None,
                "critical_celsius": None,
            }
            for name in names(folder)
            if name.startswith("thermal_zone")
        ]

    @handler(idempotent=True)
    async def dmi(self) -> dict[str, str | None] | None:
        """Vendor, product, board and firmware as the firmware tells them (no serial numbers); null without DMI."""
        return self._dmi()

    def _dmi(self) -> dict[str, str | None] | None:
        folder = self.sys / "class/dmi/id"
        if not folder.is_dir():
            return None
        return {name: read_text(folder / name) for name in _DMI}

    def _hypervisor(self) -> bool | None:
        """Whether the processor reports a hypervisor; null where processors do not tell."""
        blocks = self._cpuinfo()
        flags = blocks[0].get("flags") if blocks else None
        return None if flags is None else "hypervisor" in flags.split()


def _flag(path: Path) -> bool | None:
    number = read_int(path)
    return None if number is None else number != 0


def _positive(number: int | None) -> int | None:
    """A speed of -1 means unknown."""
    return number if number is not None and number > 0 else None
