"""Reads the memory of another process, as root can: what is written there, and what is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_REGION = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) ")
_PIECE = 1 << 22
_OVERLAP = 128  # the longest pattern


def _regions(pid: int) -> Iterator[tuple[int, int]]:
    """The readable parts of a process that hold any page, from smaps of proc(5)."""
    region: tuple[int, int] | None = None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = _REGION.match(line)
        if head:
            readable = head[3].startswith("r") and not line.endswith(("[vvar]", "[vvar_vclock]", "[vsyscall]"))
            region = (int(head[1], 16), int(head[2], 16)) if readable else None
        elif line.startswith("Rss:") and region is not None and line.split()[1] != "0":
            yield region


def found_in(pid: int, patterns: Mapping[str, bytes]) -> set[str]:
    """Return the names of the patterns that the memory of the process holds. Raises PermissionError if it is closed."""
    found: set[str] = set()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end in _regions(pid):
            at = start
            while at < end:
                try:
                    memory.seek(at)
                    piece = memory.read(min(_PIECE + _OVERLAP, end - at))
                except OSError:  # a hole, or a page that nobody may read
                    break
                found |= {name for name, value in patterns.items() if name not in found and value in piece}
                at += _PIECE
    return found
