"""Block devices of the host: what they are, what went over them, and their errors. Read below a root."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from tlsrt.loops.sampling.procfs import names, read_int, read_text, to_int

DEVICES_MAX = 512
_SECTOR = 512  # `size` and `stat` count these, whatever the device, Documentation/block/stat.rst
_PARTITIONS_MAX = 64


class BlockDevice(TypedDict):
    """One block device. Null for what its driver does not tell."""

    name: str
    size_bytes: int | None
    virtual: bool
    model: str | None
    removable: bool | None
    read_only: bool | None
    rotational: bool | None
    read_bytes: int | None
    written_bytes: int | None
    busy_ms: int | None
    device_errors: int | None
    file_system_errors: int | None


def block_devices(sys: Path) -> list[BlockDevice]:
    """Return every block device, at most 512."""
    folder = sys / "block"
    return [block_device(folder / name, sys) for name in names(folder)[:DEVICES_MAX]]


def block_device(device: Path, sys: Path) -> BlockDevice:
    """Return one of them."""
    sectors = read_int(device / "size")
    numbers = parse_stat(read_text(device / "stat", 512))
    return {
        "name": device.name,
        "size_bytes": None if sectors is None else sectors * _SECTOR,
        "virtual": not (device / "device").exists(),
        "model": read_text(device / "device/model"),
        "removable": flag(device / "removable"),
        "read_only": flag(device / "ro"),
        "rotational": flag(device / "queue/rotational"),
        "read_bytes": None if numbers is None else numbers[2] * _SECTOR,
        "written_bytes": None if numbers is None else numbers[6] * _SECTOR,
        "busy_ms": None if numbers is None else numbers[9],
        "device_errors": parse_hexadecimal(read_text(device / "device/ioerr_cnt", 64)),
        "file_system_errors": _file_system_errors(device, sys),
    }


def parse_stat(text: str | None) -> list[int] | None:
    """Return the numbers of a block device's `stat`, None if it is none. Pure."""
    found = [to_int(word) for word in (text or "").split()]
    numbers = [number for number in found if number is not None]
    return numbers if len(numbers) == len(found) >= 10 else None


def parse_hexadecimal(text: str | None) -> int | None:
    """Return what a SCSI counter such as `0x1f` says. Pure."""
    try:
        return int(text, 16) if text else None
    except ValueError:
        return None


def flag(path: Path) -> bool | None:
    """Return what a file with 0 or 1 says."""
    number = read_int(path)
    return None if number is None else number != 0


def _file_system_errors(device: Path, sys: Path) -> int | None:
    """Return the errors that ext4 has noted on a disk and its partitions; null where none of them has ext4 in use."""
    parts = [name for name in names(device) if name.startswith(device.name)][:_PARTITIONS_MAX]
    counts = [read_int(sys / "fs/ext4" / name / "errors_count") for name in (device.name, *parts)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
