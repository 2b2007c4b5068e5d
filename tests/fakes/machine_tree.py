"""A small machine as files of /sys: one USB device, one disk, one disk that the kernel has made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

USB = {"idVendor": "046d\n", "idProduct": "c52b\n", "serial": "A 1\x07\n"}


def tree(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def plug(root: Path, name: str, files: Mapping[str, str]) -> str:
    """Plug a USB device in; return its path below the root."""
    path = f"devices/pci0/usb1/{name}"
    tree(root / path, files)
    (root / "bus/usb/devices").mkdir(parents=True, exist_ok=True)
    (root / "bus/usb/devices" / name).symlink_to(root / path)
    return path


def machine_of(root: Path) -> Path:
    """Make the machine below a folder."""
    plug(root, "1-1", USB)
    disk = "devices/pci0/ata1/block/sda"
    tree(root, {f"{disk}/size": "1", f"{disk}/device/model": "DISK 9", f"{disk}/device/serial": "S7"})
    tree(root, {"devices/virtual/block/zram0/size": "1", "bus/usb/devices/1-0:1.0/x": "1"})
    (root / "block").mkdir()
    for name in (disk, "devices/virtual/block/zram0"):
        (root / "block" / Path(name).name).symlink_to(root / name)
    return root
