"""Free memory of the C heap: given back after a peak, at a quiet beat, and not often."""

from __future__ import annotations

import os
import subprocess
import sys

from tlsrt.loops.runtime.free_heap import LEAST, PAUSE_BEATS, QUIET, FreeHeap, HeapUse, heap_use

BASE = 10 << 20
# In a process of its own: what pytest has freed would count. Each block lies below one that stays.
FILLED = """
import os
from tlsrt.loops.runtime.free_heap import FreeHeap

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

heap = FreeHeap()
heap.each_beat()
kept, filled = [], []
for _ in range(400):
    filled.append(b"x" * 100_000)
    kept.append(b"y" * 20_000)  # no hole from before is as large
heap.each_beat()
del filled
heap.each_beat()
before = resident()
heap.each_beat()
print(before - resident())
"""


class Heap:
    """A heap whose use the test sets; counts how often it is trimmed."""

    def __init__(self) -> None:
        self.used, self.free, self.trims = BASE, 0, 0
        self.heap = FreeHeap(lambda: HeapUse(self.used, self.free), self._trim)

    def _trim(self) -> None:
        self.trims += 1

    def beats(self, count: int = 1) -> int:
        for _ in range(count):
            self.heap.each_beat()
        return self.trims


def test_a_process_that_used_no_more_than_ever_is_left_alone() -> None:
    one = Heap()
    one.beats()
    one.used += LEAST - 1
    one.beats()
    one.used -= LEAST - 1
    assert one.beats(100) == 0


def test_what_a_peak_has_left_is_given_back_once_when_the_process_is_quiet() -> None:
    one = Heap()
    one.beats()
    one.used += 4 * LEAST
    one.beats()
    for _ in range(3):
        one.used -= QUIET + 1
        assert one.beats() == 0, "it is still busy with it"
    one.used, one.free = BASE, 4 * LEAST
    assert one.beats() == 0 and one.beats() == 1
    assert one.beats(100) == 1


def test_a_peak_between_two_beats_shows_by_what_is_free() -> None:
    one = Heap()
    one.beats()
    one.free += LEAST
    assert one.beats() == 1 and one.beats(100) == 1


def test_it_comes_once_in_some_beats_at_most() -> None:
    one = Heap()
    for number in range(1, 20 * PAUSE_BEATS):
        one.free += LEAST
        assert one.beats() <= 1 + number // PAUSE_BEATS
    assert one.trims > 10


def test_what_lies_below_something_in_use_goes_back_to_the_kernel() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLED], capture_output=True, text=True, timeout=60,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if heap_use() != HeapUse(0, 0):  # another C library than glibc
        assert int(done.stdout) > 20 << 20
