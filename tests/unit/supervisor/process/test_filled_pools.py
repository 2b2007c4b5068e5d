"""Holes in the pools of small objects: counted by what the interpreter says, and filled."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_no_descriptor_is_left() -> None:
    before = os.listdir("/proc/self/fd")
    fill_pools()
    assert len(os.listdir("/proc/self/fd")) == len(before)
