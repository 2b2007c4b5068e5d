"""Run count: whether a task has run since it was looked at last, by the account in /proc/PID/task/TID/schedstat.

A task changes its ids, capabilities, filters and namespaces by its own system calls alone, and for these it must run.
The kernel adds to the count of its runs when it comes onto a processor, and to its time when it leaves one and at each
tick meanwhile, whatever other sleeps or tracers there are. So one whose line is the same at two readings that are some
ticks apart has not run between them. Where a processor may run without ticks (`nohz_full`), that is not so.
"""

from __future__ import annotations

from pathlib import Path

NO_TICKS = Path("/sys/devices/system/cpu/nohz_full")
TICKS_S = 0.1  # at least ten: CONFIG_HZ is 100 or more
FULL_LOOKS = 8  # each task has at least every eighth look in full: 4 s at two looks a second


def has_ticks(path: Path = NO_TICKS) -> bool:
    """Tell whether every processor that executes anything has ticks, so that run counts tell the truth."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip() in ("", "(null)")
    except FileNotFoundError:  # a kernel without CONFIG_NO_HZ_FULL
        return True
    except OSError:
        return False


class RunCount:
    """What was read before the last look in full, of which `looked` tells. Pure: text and time, in s, come in."""

    def __init__(self, number: int) -> None:
        """`number` is any one of the task: tasks with different ones have their looks in full at different times."""
        self._line = b""
        self._looked_at = 0.0
        self._turn = number % FULL_LOOKS

    def has_slept(self, line: bytes, now: float) -> bool:
        """Tell whether the task has not run since before its last look in full; False is always safe.

        False where no such look was, and where the kernel counts nothing.
        """
        return line == self._line and now - self._looked_at >= TICKS_S and counts(line)

    def is_full_turn(self) -> bool:
        """Tell, once in each look, whether it is one in full whatever the task did: every eighth is."""
        self._turn = (self._turn + 1) % FULL_LOOKS
        return self._turn == 0

    def looked(self, line: bytes, now: float) -> None:
        """Note that a look in full found nothing; `line` was read before it, and it ended at `now`."""
        self._line, self._looked_at = line, now

    def forget(self) -> None:
        """The next look is one in full."""
        self._line = b""


def counts(line: bytes) -> bool:
    """Tell whether a line is an account: all zeros are what a kernel writes that keeps none, proc(5)."""
    words = line.split()
    return len(words) == 3 and words[0] != b"0" and words[2] != b"0"
