"""File systems that this process is shown some place of: how full they are, and when that is almost full. Pure parts.

A component sees no mount point of the host, only single places of its file systems: Python's library is on one, its
own folder on one, and each path that it is granted to read on one. statvfs(3) of any of them tells of the whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from tlsrt.loops.sampling.procfs import read_text

MOUNTS_BYTES = 1 << 20
FILE_SYSTEMS_MAX = 64
Change = Literal["almost_full", "enough_room"]
# Made by the kernel at that moment, or never written: none of these fills up.
_WITHOUT_ROOM = frozenset(
    {
        "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cramfs", "debugfs", "devpts", "devtmpfs",
        "efivarfs", "erofs", "fusectl", "hugetlbfs", "iso9660", "mqueue", "nsfs", "proc", "pstore", "ramfs",
        "rpc_pipefs", "securityfs", "selinuxfs", "squashfs", "sysfs", "tmpfs", "tracefs",
    }
)  # fmt: skip
# statvfs(3) waits for the other side of these, and nothing may wait here.
_REMOTE = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3",
        "virtiofs",
    }
)  # fmt: skip
_ESCAPE = re.compile(r"\\([0-7]{3})")


class FileSystem(TypedDict):
    """One file system; the figures are null where asking for them could wait for another machine."""

    device: str
    source: str
    kind: str
    seen_at: str
    read_only: bool | None
    size_bytes: int | None
    available_bytes: int | None
    used_percent: float | None
    files_used_percent: float | None


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo, proc_pid_mountinfo(5)."""

    device: str  # MAJOR:MINOR
    place: str
    kind: str
    source: str
    is_read_only: bool  # the file system, not this mount of it

    @property
    def is_remote(self) -> bool:
        """Tell whether another machine or process answers for it."""
        return self.kind in _REMOTE or self.kind.startswith("fuse")


@dataclass(frozen=True, slots=True)
class Room:
    """What statvfs(3) says of one file system."""

    size_bytes: int
    available_bytes: int
    used_percent: float
    files_used_percent: float | None  # null where it has no fixed number of files


def parse_mounts(text: str) -> list[Mount]:
    """Return one mount of each file system that can fill up, that with the shortest place. Pure."""
    found: dict[str, Mount] = {}
    for line in text.splitlines():
        mount = _parse_line(line)
        if mount is None or mount.kind in _WITHOUT_ROOM:
            continue
        before = found.get(mount.device)
        if before is None and len(found) >= FILE_SYSTEMS_MAX:
            continue
        if before is None or len(mount.place) < len(before.place):
            found[mount.device] = mount
    return list(found.values())


def _parse_line(line: str) -> Mount | None:
    words = line.split(" ")
    try:
        dash = words.index("-", 6)
        device, place = words[2], words[4]
        kind, source, options = words[dash + 1 : dash + 4]
    except ValueError:
        return None
    return Mount(device, _unescaped(place), kind, _unescaped(source), "ro" in options.split(","))


def _unescaped(word: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), word)


def room_of(place: str, ask: Callable[[str], os.statvfs_result] = os.statvfs) -> Room | None:
    """Return how much room there is, as df(1) counts it; None if it cannot be told."""
    try:
        found = ask(place)
    except OSError:
        return None
    used = found.f_blocks - found.f_bfree
    whole = used + found.f_bavail  # without what is kept for root
    if found.f_blocks <= 0 or whole <= 0:
        return None
    files = 100 * (found.f_files - found.f_ffree) / found.f_files if found.f_files > 0 else None
    return Room(
        found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, round(100 * used / whole, 2),
        None if files is None else round(files, 2),
    )  # fmt: skip


def file_systems(proc: Path, ask: Callable[[str], os.statvfs_result] = os.statvfs) -> list[FileSystem]:
    """Return every file system that this process is shown a place of."""
    mounts = parse_mounts(read_text(proc / "self/mountinfo", MOUNTS_BYTES) or "")
    return [_file_system(mount, None if mount.is_remote else room_of(mount.place, ask)) for mount in mounts]


def _file_system(mount: Mount, room: Room | None) -> FileSystem:
    return {
        "device": mount.device,
        "source": mount.source,
        "kind": mount.kind,
        "seen_at": mount.place,
        "read_only": mount.is_read_only,
        "size_bytes": None if room is None else room.size_bytes,
        "available_bytes": None if room is None else room.available_bytes,
        "used_percent": None if room is None else room.used_percent,
        "files_used_percent": None if room is None else room.files_used_percent,
    }


@dataclass(slots=True)
class Fullness:
    """Which file systems are almost full, with hysteresis: full from `high` percent on, until below `low`. Pure."""

    high: float
    low: float
    full: set[str] = field(default_factory=set[str])  # devices

    def look(self, found: Iterable[FileSystem]) -> list[tuple[Change, FileSystem]]:
        """Return what has changed since the last look. One that is not shown any more is forgotten."""
        changes: list[tuple[Change, FileSystem]] = []
        seen: set[str] = set()
        for one in found:
            shares = [share for share in (one["used_percent"], one["files_used_percent"]) if share is not None]
            if not shares or one["read_only"]:
                continue
            device, share = one["device"], max(shares)
            seen.add(device)
            if device not in self.full and share >= self.high:
                self.full.add(device)
                changes.append(("almost_full", one))
            elif device in self.full and share < self.low:
                self.full.discard(device)
                changes.append(("enough_room", one))
        self.full &= seen
        return changes
