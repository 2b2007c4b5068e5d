"""Which block and USB devices are known: what they are called, and the set of those that may be there.

A name is made of what the device says of itself, so it tells one model from another and is no proof: a device can say
what another one says. Read below a root.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tlsrt.loops.sampling.procfs import names, read_text

LEARNED_MAX = 1024
NAME_MAX = 200
_WORD_MAX = 64
_FILE_BYTES = LEARNED_MAX * (12 * NAME_MAX + 8)  # as JSON has what is not ASCII
_VIRTUAL = re.compile(r"([a-z]+)")


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A device that is there, and what it is called."""

    name: str  # `usb 046d:c52b`, `block Samsung_SSD S4EWNF0M`
    path: str  # below /sys/
    is_virtual: bool = False  # made by the kernel: loop, zram, dm


def word_untrusted(text: str | None) -> str:
    """Return one printable word of what a device says of itself, "" if nothing is left of it. Cannot fail."""
    return re.sub(r"[^!-~]+", "_", (text or "").strip()).strip("_")[:_WORD_MAX]


def usb_device(folder: Path, path: str) -> DeviceName | None:
    """Return a USB device, None if it is none or has gone already."""
    vendor, product = (word_untrusted(read_text(folder / name, 64)) for name in ("idVendor", "idProduct"))
    if not vendor or not product:
        return None
    serial = word_untrusted(read_text(folder / "serial", 512))
    return _named(path, "usb", f"{vendor}:{product}", serial)


def block_device(folder: Path, path: str) -> DeviceName | None:
    """Return a disk by model and serial number; what the kernel makes itself by its kind, such as `block loop`."""
    if "/virtual/" in f"/{path}" or not (folder / "device").exists():
        kind = _VIRTUAL.match(folder.name)
        return DeviceName(f"block {kind[1] if kind else word_untrusted(folder.name)}", path, is_virtual=True)
    device = folder / "device"
    model = word_untrusted(read_text(device / "model", 512) or read_text(device / "name", 512))
    serial = next(
        (word for name in ("device/serial", "device/wwid", "wwid", "device/cid", "serial")
         if (word := word_untrusted(read_text(folder / name, 512)))),
        "",
    )  # fmt: skip
    return _named(path, "block", model, serial or ("" if model else folder.name))


def _named(path: str, *words: str) -> DeviceName:
    return DeviceName(" ".join(word for word in words if word).lower(), path)


def devices_there(sys: Path) -> list[DeviceName]:
    """Return every USB device and every disk of the host, hubs of the machine itself among them."""
    usb, block = sys / "bus/usb/devices", sys / "block"
    found = [usb_device(usb / name, _real(usb / name, sys)) for name in names(usb)]
    found += [block_device(block / name, _real(block / name, sys)) for name in names(block)]
    return [one for one in found if one is not None]


def _real(folder: Path, sys: Path) -> str:
    """Return where a device lies below /sys, as uevents call it: that says whether the kernel has made it."""
    real, root = folder.resolve(), sys.resolve()
    return str((real if real.is_relative_to(root) else folder).relative_to(root if real.is_relative_to(root) else sys))


def device_of_event(
    sys: Path, subsystem: str, devtype: str, devpath: str, *, is_gone: bool = False
) -> DeviceName | None:
    """Return the device that a uevent tells of, None for what is neither a USB device nor a disk.

    One that is gone has a path and no name.
    """
    path = devpath.lstrip("/")
    kind = {("usb", "usb_device"): usb_device, ("block", "disk"): block_device}.get((subsystem, devtype))
    if kind is None or ".." in path.split("/"):
        return None
    return DeviceName("", path) if is_gone else kind(sys / path, path)


class KnownDevices:
    """The devices that may be there: declared by patterns, and learned. Pure."""

    def __init__(self, declared: Collection[str], learned: Iterable[str] = (), *, takes_virtual: bool = False) -> None:
        self._declared = [pattern.lower() for pattern in declared]
        self._learned = dict.fromkeys(learned)
        self._takes_virtual = takes_virtual

    @property
    def learned(self) -> list[str]:
        return list(self._learned)

    def has(self, device: DeviceName) -> bool:
        """Tell whether a device is known. What the kernel makes itself is, unless that is watched too."""
        if device.is_virtual and not self._takes_virtual:
            return True
        return device.name in self._learned or any(fnmatchcase(device.name, one) for one in self._declared)

    def learn(self, name: str) -> bool:
        """Learn a device; tell whether there was room for it."""
        if name not in self._learned and len(self._learned) >= LEARNED_MAX:
            return False
        self._learned[name] = None
        return True

    def forget(self, name: str) -> bool:
        """Forget a learned device; tell whether it was one."""
        return name in self._learned and self._learned.pop(name) is None


def read_learned(file: Path) -> list[str] | None:
    """Return what was learned; None if there is no file, nothing for one that is damaged."""
    text = read_text(file, _FILE_BYTES + 1)
    if text is None and not os.path.lexists(file):
        return None
    try:
        found = json.loads(text or "")
    except ValueError:
        return []
    is_whole = isinstance(found, list) and all(type(one) is str and len(one) <= NAME_MAX for one in found)
    return found[:LEARNED_MAX] if is_whole else []


def write_learned(file: Path, learned: Collection[str]) -> None:
    """Write it so that it is whole or as before. Raises OSError."""
    draft = file.with_suffix(".new")
    with open(draft, "wb") as written:
        written.write(json.dumps(list(learned), indent=1).encode())
        written.flush()
        os.fsync(written.fileno())
    draft.replace(file)
