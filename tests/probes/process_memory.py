"""Reads the memory of another process, as root can: what is written there, and what is not."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

_REGION = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)$")
_PIECE = 1 << 22
_OVERLAP = 128  # the longest pattern
_PAGE = 4096
_THERE = 62  # a page is in memory or in swap: the upper two bits of an entry of /proc/PID/pagemap


def _regions(pid: int) -> Iterator[tuple[int, int, bool]]:
    """The readable parts of a process that hold a page which is not that of a file on a disk, from smaps of proc(5).

    Each with whether it is shared: then pages that only others have touched are in it too.
    """
    region: tuple[int, int, bool] | None = None
    is_file = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = _REGION.match(line)
        if head:
            readable = head[3].startswith("r") and head[4] not in ("[vvar]", "[vvar_vclock]", "[vsyscall]")
            region = (int(head[1], 16), int(head[2], 16), head[3][3] == "s") if readable else None
            is_file = head[4].startswith("/") and "w" not in head[3] and Path(head[4]).is_file()
        elif region is not None and line.startswith("Anonymous:" if is_file else "Rss:") and line.split()[1] != "0":
            yield region


def _there(pid: int) -> Iterator[tuple[int, int]]:
    """The runs of pages in those parts that are there; others would be read as zeros."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        for start, end, is_shared in _regions(pid):
            if is_shared:
                yield start, end
                continue
            file.seek(start // _PAGE * 8)
            pages = array("Q", file.read((end - start) // _PAGE * 8))
            at = start
            for is_there, run in groupby(pages, lambda page: page >> _THERE != 0):
                after = at + sum(1 for _ in run) * _PAGE
                if is_there:
                    yield at, after
                at = after


def found_in(pid: int, patterns: Mapping[str, bytes]) -> set[str]:
    """Return the names of the patterns that the memory of the process holds. Raises PermissionError if it is closed."""
    found: set[str] = set()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end in _there(pid):
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
