"""Paths of devices and settings, looked up by the supervisor: descriptors that can do nothing yet (O_PATH, open(2)).

To look up runs no driver and waits for nothing. Every step is held by the kernel below /dev, /sys or /proc/sys
(openat2(2)), so no link leads out, and what is judged is what was found and not a name that another could change.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tlsrt.config.host_settings import ROOTS, refusal_of
from tlsrt.sandbox import syscalls

MATCHES_MAX = 256
_MISC = "it is a door to the kernel rather than a device"
_SCREEN = "it is the host's own screen, keyboard or terminal"
_DISK = "it reaches disks past their driver"
_KEYS = "it hears keyboards, or speaks to security keys"
# Drivers of character devices, as /proc/devices names them -> why none of theirs is handed to a component.
REFUSED_DRIVERS: Mapping[str, str] = {
    "/dev/tty": _SCREEN, "/dev/console": _SCREEN, "/dev/ptmx": _SCREEN, "/dev/vc/0": _SCREEN, "tty": _SCREEN,
    "vcs": _SCREEN, "fb": _SCREEN, "misc": _MISC, "cpu/msr": _MISC, "cpu/cpuid": _MISC, "vfio": _MISC, "uio": _MISC,
    "iommu": _MISC, "mei": _MISC, "dma_heap": _MISC, "sg": _DISK, "bsg": _DISK, "raw": _DISK, "mtd": _DISK,
    "nvme": _DISK, "nvme-generic": _DISK, "ndctl": _DISK, "dax": _DISK, "pktcdvd": _DISK, "ubi_ctrl": _DISK,
    "dimmctl": _DISK, "kfd": _MISC, "tpm": "it holds keys of the host", "pts": "it is the terminal of a person",
    "input": _KEYS, "hidraw": _KEYS, "usbmon": "it hears all that is said on a bus",
    "watchdog": "it restarts the host when it is left alone",
}  # fmt: skip
_VOLUME = re.compile(r"ubi[0-9]+")
_MEMORY = "mem"
_FIRST_SERIAL = 64
_EVENTS, _MORE_EVENTS = range(64, 96), 256
_HARMLESS_MEMORY = (3, 5, 7, 8, 9)  # null, zero, full, random, urandom


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to. `descriptor` is owned by the caller."""

    descriptor: int
    path: str  # without links
    device: int = 0  # its number, st_rdev


class Refused(OSError):
    """What a path leads to is nothing that can be had; `strerror` says why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(errno.EACCES, why, path)


def find_device(path: str, drivers: Mapping[int, list[str]] | None = None, *, hears: bool = False) -> Found:
    """Return the character device that a path below /dev leads to; `hears` asks for an input device, and no other.

    Raises OSError, Refused for one that none gets.
    """
    folder = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS
        descriptor = syscalls.openat2(folder, path.removeprefix("/dev/"), os.O_PATH | os.O_CLOEXEC, resolve)
    finally:
        os.close(folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISCHR(status.st_mode):
            raise Refused(path, "it is no character device")
        if why := refused_device(status.st_rdev, drivers if drivers is not None else read_drivers(), hears=hears):
            raise Refused(path, why)
        return Found(descriptor, os.readlink(f"/proc/self/fd/{descriptor}"), status.st_rdev)
    except OSError:
        os.close(descriptor)
        raise


def refused_device(number: int, drivers: Mapping[int, list[str]], *, hears: bool = False) -> str:
    """Return why no component gets the character device of this number, "" if one may. Pure."""
    names = drivers.get(os.major(number), [])
    if hears:
        return "" if is_event_device(names, os.minor(number)) else "it is no input device, such as /dev/input/event3"
    if _MEMORY in names and os.minor(number) not in _HARMLESS_MEMORY:
        return "it is the memory, the ports or the log of the kernel"
    if not names:
        return "no driver of this kernel has its number"
    if "ttyS" in names:  # it shares a number with the screens, which come first
        return "" if os.minor(number) >= _FIRST_SERIAL else _SCREEN
    return next((why for name in names if (why := _DISK if _VOLUME.fullmatch(name) else REFUSED_DRIVERS.get(name))), "")


def is_event_device(names: Sequence[str], minor: int) -> bool:
    """Say whether these drivers' device is one of evdev: 32 numbers, and those beyond 256 (drivers/input/input.c)."""
    return "input" in names and (minor in _EVENTS or minor >= _MORE_EVENTS)


def read_drivers() -> dict[int, list[str]]:
    """Return the names of drivers of character devices, by major number."""
    with open("/proc/devices", encoding="ascii", errors="replace") as file:
        return parse_drivers(file.read())


def parse_drivers(text: str) -> dict[int, list[str]]:
    """Return what the first part of /proc/devices says. Pure."""
    found: dict[int, list[str]] = {}
    for line in text.partition("Block devices:")[0].splitlines():
        number, _, name = line.strip().partition(" ")
        if number.isdecimal() and name:
            found.setdefault(int(number), []).append(name)
    return found


def find_setting(pattern: str) -> Found:
    """Return the one setting that a path or pattern leads to. Raises OSError, Refused for one that none may write."""
    root = next(one for one in ROOTS if pattern.startswith(f"{one}/"))
    names = _matches(root, pattern.removeprefix(f"{root}/"))
    if not names:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), pattern)
    if len(names) > 1:
        raise OSError(errno.ENOTUNIQ, f"{len(names)} files fit, and one is wanted", pattern)
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS | syscalls.RESOLVE_NO_XDEV
        descriptor = syscalls.openat2(folder, names[0], os.O_PATH | os.O_CLOEXEC, resolve)
    finally:
        os.close(folder)
    try:
        real = os.readlink(f"/proc/self/fd/{descriptor}")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused(real, "it is no setting")
        if why := refusal_of(real):
            raise Refused(real, why)
        return Found(descriptor, real)
    except OSError:
        os.close(descriptor)
        raise


def _matches(root: str, pattern: str) -> list[str]:
    """Return what of a folder a pattern names, whether it leads out or not: that is seen when it is opened."""
    found = [""]
    for part in pattern.split("/"):
        if not set("*?") & set(part):
            found = [f"{name}{part}/" for name in found]
            continue
        found = [
            f"{name}{one}/" for name in found for one in _listed(f"{root}/{name}") if fnmatch.fnmatchcase(one, part)
        ]
        if len(found) > MATCHES_MAX:
            raise OSError(errno.E2BIG, f"more than {MATCHES_MAX} files fit", pattern)
    return [name[:-1] for name in found if os.path.lexists(f"{root}/{name[:-1]}")]


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
