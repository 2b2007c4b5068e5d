"""Holes in the pools of small objects: counted by what the interpreter says, and filled."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tlsrt.supervisor.process.filled_pools import fill_pools, free_blocks

TEXT = b"""Small block threshold = 512, in 32 size classes.

class   size   num pools   blocks in use  avail blocks
-----   ----   ---------   -------------  ------------
    0     16          12           11904            48
    1     32         101           51510             0
   31    512          40            1240            13

# arenas allocated total           =                   60
    2     17          40            1240            13
"""
PROGRAM = """
from tlsrt.supervisor.process.filled_pools import _statistics, fill_pools, free_blocks
def size(): return sum(size * count for size, count in free_blocks(_statistics()))
things = [[bytes(range(number % 256)) for number in range(5000)] for _ in range(2)]
del things[0][::3]
before = size()
kept = fill_pools()
after = size()
assert kept and after < before / 2 + 100_000, (before, after)
"""


def test_rows_are_read_and_nothing_else() -> None:
    assert free_blocks(TEXT) == [(16, 48), (32, 0), (512, 13)]
    assert free_blocks(b"") == []


def test_holes_are_filled_and_nothing_is_said() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


HEAP = """
import ctypes
from tlsrt.supervisor.process.filled_pools import _HeapUse, fill_heap
library = ctypes.CDLL(None)
library.mallinfo2.restype, library.malloc.restype = _HeapUse, ctypes.c_void_p
pieces = [library.malloc(ctypes.c_size_t(3000)) for _ in range(400)]
[library.free(ctypes.c_void_p(piece)) for piece in pieces[::2]]
before = library.mallinfo2()
assert before.fordblks - before.keepcost > 200 * 3000
assert fill_heap() > 200 * 3000
use = library.mallinfo2()
assert use.fordblks - use.keepcost < 100_000, "what is free lies at the top"
assert library.malloc(ctypes.c_size_t(3000)) > max(pieces)
"""


def test_holes_of_the_heap_are_filled() -> None:
    done = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_descriptor_is_left() -> None:
    before = os.listdir("/proc/self/fd")
    fill_pools()
    assert len(os.listdir("/proc/self/fd")) == len(before)


LIMITED = """
import resource, sys
from tlsrt.supervisor.process.filled_pools import hold_filled, let_go
things = [bytes(300) for _ in range(20_000)]
del things[::3]
hold_filled()
if sys.argv[1] == "room":
    let_go()
resource.setrlimit(resource.RLIMIT_DATA, (1 << 20, 1 << 20))
try:
    kept = [bytearray(1 << 20), bytearray(700_000), [str(number) for number in range(3000)]]
except MemoryError:
    sys.exit(3)
"""


@pytest.mark.parametrize(("word", "code"), [("room", 0), ("none", 3)])
def test_there_is_room_under_a_limit_below_what_it_has(word: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, word], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, "")
