"""The machine itself: processors, firmware's words, watchdogs and TPMs. Read below a root."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypedDict

from tlsrt.loops.sampling.procfs import names, read_int, read_text, scaled

_CPUINFO_BYTES = 4 << 20  # 256 processors at 4 KiB each leave room
_MODEL_KEYS = ("model name", "Model", "Hardware", "cpu model", "cpu", "isa")  # x86, Arm boards, MIPS, POWER, RISC-V
_DMI = ("bios_date", "bios_vendor", "bios_version", "board_name", "board_vendor", "chassis_type", "product_name",
        "product_version", "sys_vendor")  # fmt: skip
_DEVICES_MAX = 16


class Processors(TypedDict):
    """What the processors are; null for what this kind of processor does not tell."""

    model: str | None
    vendor: str | None
    processors: int | None
    online: str | None
    cores: int | None
    sockets: int | None
    minimum_mhz: float | None
    maximum_mhz: float | None
    microcode: str | None


class Watchdog(TypedDict):
    """One watchdog: a timer that restarts the machine when it is fed no more."""

    name: str
    kind: str | None
    is_active: bool | None
    timeout_s: int | None
    caused_last_boot: bool | None


class Tpm(TypedDict):
    """One TPM and the version of its interface."""

    name: str
    version_major: int | None


def cpuinfo(proc: Path) -> list[dict[str, str]]:
    """Return the blocks of /proc/cpuinfo, one a processor on most machines."""
    return parse_cpuinfo(read_text(proc / "cpuinfo", _CPUINFO_BYTES) or "")


def parse_cpuinfo(text: str) -> list[dict[str, str]]:
    """Return the blocks of a text of `key : value` lines. Pure."""
    blocks: list[dict[str, str]] = []
    for block in re.split(r"\n\s*\n", text):
        pairs = (line.partition(":") for line in block.splitlines())
        blocks.append({key.strip(): value.strip() for key, colon, value in pairs if colon})
    return [block for block in blocks if block]


def read_processors(proc: Path, sys: Path) -> Processors:
    """Return model, count and speed limits of the processors."""
    blocks = cpuinfo(proc)
    first = blocks[0] if blocks else {}
    policy = sys / "devices/system/cpu/cpu0/cpufreq"
    cores = {(block["physical id"], block["core id"]) for block in blocks if {"physical id", "core id"} <= set(block)}
    return {
        "model": next((first[key] for key in _MODEL_KEYS if key in first), None),
        "vendor": first.get("vendor_id"),
        "processors": len([block for block in blocks if "processor" in block]) or None,
        "online": read_text(sys / "devices/system/cpu/online"),
        "cores": len(cores) or None,
        "sockets": len({socket for socket, _ in cores}) or None,
        "minimum_mhz": scaled(read_int(policy / "cpuinfo_min_freq"), 1000),
        "maximum_mhz": scaled(read_int(policy / "cpuinfo_max_freq"), 1000),
        "microcode": first.get("microcode"),
    }


def is_virtual(proc: Path) -> bool | None:
    """Tell whether the processor reports a hypervisor; null where processors do not tell."""
    blocks = cpuinfo(proc)
    flags = blocks[0].get("flags") if blocks else None
    return None if flags is None else "hypervisor" in flags.split()


def read_dmi(sys: Path) -> dict[str, str | None] | None:
    """Return what the firmware says of vendor, product and board, no serial numbers; null without DMI."""
    folder = sys / "class/dmi/id"
    return {name: read_text(folder / name) for name in _DMI} if folder.is_dir() else None


def read_watchdogs(sys: Path) -> list[Watchdog]:
    """Return every watchdog; `caused_last_boot` as far as its driver knows, watchdog-api.rst."""
    folder = sys / "class/watchdog"
    return [_watchdog(folder / name) for name in names(folder)[:_DEVICES_MAX]]


def _watchdog(folder: Path) -> Watchdog:
    cause = read_int(folder / "bootstatus")
    state = read_text(folder / "state", 32)
    return {
        "name": folder.name,
        "kind": read_text(folder / "identity", 128),
        "is_active": None if state is None else state == "active",
        "timeout_s": read_int(folder / "timeout"),
        "caused_last_boot": None if cause is None else bool(cause & 0x20),  # WDIOF_CARDRESET
    }


def read_tpms(sys: Path) -> list[Tpm]:
    """Return every TPM."""
    folder = sys / "class/tpm"
    return [
        {"name": name, "version_major": read_int(folder / name / "tpm_version_major")}
        for name in names(folder)[:_DEVICES_MAX]
    ]
