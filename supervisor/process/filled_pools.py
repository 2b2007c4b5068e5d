"""Fill the holes in the pools of small objects and in the heap, so that what a forked child makes lies together.

CPython keeps objects of up to 512 bytes in pools of one size each, and puts a new one into the first free place: after
many imports, into holes all over the heap. Each of these pages is shared with the processes that were forked before,
and a write copies it. When no hole is left, new objects share pages that are the child's own anyway: 0.3 MiB less for
each process, for as much memory once. What is larger, and what libraries in C keep, malloc(3) puts into holes of its
own: they are filled likewise.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys

from tlsrt.sandbox import syscalls

_ROW = re.compile(rb"^ *\d+ +(\d+) +\d+ +\d+ +(\d+)$", re.MULTILINE)  # class, size, pools, blocks in use, free blocks
_BYTES = sys.getsizeof(b"")
_STEP = 16  # of the sizes
_MOST = 16 << 20
_ROOM = 4 << 20  # only what is used of it is memory
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc
_LARGEST_HOLE, _SMALLEST_HOLE = 64 << 10, 24  # a larger one is hardly lost, and beyond 128 KiB it would be a mapping

_held: list[list[object]] = []


def hold_filled() -> None:
    """Fill the holes and keep them filled, also in the children."""
    _held.extend(fill_pools())
    fill_heap()


def let_go() -> None:
    """Make room in a process whose limit of memory may be below what it has: it gets no other place afterwards.

    The holes are opened again, for small objects. For buffers malloc(3) of glibc gets a free piece of heap, and is
    told to keep it and to use no mappings, which the kernel would refuse: mallopt(3).
    """
    _held.clear()
    library = syscalls.libc()
    if (tell := getattr(library, "mallopt", None)) is None:
        return
    tell(_M_MMAP_MAX, 0)
    tell(_M_TRIM_THRESHOLD, 2 * _ROOM)
    library.malloc.restype = ctypes.c_void_p
    library.free(ctypes.c_void_p(library.malloc(ctypes.c_size_t(_ROOM))))


class _HeapUse(ctypes.Structure):
    """Struct mallinfo2 of glibc 2.33."""

    _fields_ = (
        ("arena", ctypes.c_size_t), ("ordblks", ctypes.c_size_t), ("smblks", ctypes.c_size_t),
        ("hblks", ctypes.c_size_t), ("hblkhd", ctypes.c_size_t), ("usmblks", ctypes.c_size_t),
        ("fsmblks", ctypes.c_size_t), ("uordblks", ctypes.c_size_t), ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )  # fmt: skip
    keepcost: int  # free bytes at the top of the heap


def fill_heap() -> int:
    """Take all free pieces of the heap below its top, for good; return their bytes: 0 with another malloc than glibc's.

    What malloc(3) then gives out lies at the top, where no other process has anything.
    """
    library = syscalls.libc()
    if (use := getattr(library, "mallinfo2", None)) is None:
        return 0
    use.restype, library.sbrk.restype, library.malloc.restype = _HeapUse, ctypes.c_void_p, ctypes.c_void_p
    top = (library.sbrk(ctypes.c_ssize_t(0)) or 0) - use().keepcost
    size, taken = _LARGEST_HOLE, 0
    while size >= _SMALLEST_HOLE and taken < _MOST:
        if (piece := library.malloc(ctypes.c_size_t(size))) is not None and piece < top:
            taken += size
            continue
        library.free(ctypes.c_void_p(piece))
        size = size * 7 // 8
    return taken


def fill_pools() -> list[list[object]]:
    """Return objects that lie in all holes; keep them. None where this interpreter does not tell of its pools."""
    holes = free_blocks(_statistics())
    if sum(size * count for size, count in holes) > _MOST:
        return []
    return [[_object_of(size, number) for number in range(count)] for size, count in holes]


def free_blocks(text: bytes) -> list[tuple[int, int]]:
    """Return (size, free blocks) of each size of pool, by what sys._debugmallocstats says."""
    rows = [(int(size), int(count)) for size, count in _ROW.findall(text)]
    return [(size, count) for size, count in rows if size % _STEP == 0]


def _object_of(size: int, number: int) -> object:
    """Return an object of one block of this size."""
    if size > _BYTES:
        return bytes(size - _BYTES)
    return object() if size == _STEP else number + 0.5  # a float has 24 bytes


def _statistics() -> bytes:
    """Return what the interpreter prints of its pools; it does that on standard error."""
    tell = getattr(sys, "_debugmallocstats", None)
    if tell is None:
        return b""
    memory, errors = os.memfd_create("pools", os.MFD_CLOEXEC), os.dup(2)
    try:
        os.dup2(memory, 2)
        tell()
        return os.pread(memory, os.fstat(memory).st_size, 0)
    finally:
        os.dup2(errors, 2)
        os.close(errors)
        os.close(memory)
