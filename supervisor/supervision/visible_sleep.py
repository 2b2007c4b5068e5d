"""Visible sleep: which process need not beat, since it is seen that its event loop waits and that nothing waits for it.

A process that sleeps until something comes says nothing by its beats but that it woke up for them. Instead the
supervisor sees, at each look, that

- no task of it has run since the look before (`schedstat`, which found nothing), so it is the same as then,
- its main task waits in epoll_wait(2), and in the set from which it beat before, and
- nothing is unread in its life channel and in its trust channel.

Then the kernel wakes its event loop as soon as there is something to do, and that counts as a beat. One that has run
and has said nothing since the look before is asked for a beat, which its event loop must make in the time that it has
for any other: so a process that hangs, spins, is stopped, frozen or held by a debugger, or waits in another set, is
found as late as without all this. To be stopped, frozen or woken a task must run, and so it has to beat after it.

Which set is that of its event loop is learned while it beats: before it may rest, it was seen in the same one at
several looks in a row, with a beat before each. Where the kernel shows no such thing it never may.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

LOOKS = 4  # in a row, in the same set


class Step(Enum):
    """What follows of a look at one process."""

    NOTHING = "nothing"
    SLEEPS = "sleeps"  # it counts as a beat
    MAY_REST = "may rest"  # tell it that it need not beat, once
    ASK = "ask"  # for a beat


@dataclass(slots=True)
class VisibleSleep:
    """What is known of one incarnation. Pure: what was seen comes in."""

    _sequence: int = 0  # of its last beat, at the look before
    _set: int | None = None
    _looks: int = 0  # at which it was in that set
    _may_rest: bool = False
    _asked: int = -1  # after which beat

    def look(
        self, sequence: int, *, has_slept: bool, epoll_set: Callable[[], int | None], is_read: Callable[[], bool]
    ) -> Step:
        """Return what follows; `sequence` is that of the last beat its event loop made. It asks for what it needs."""
        has_beaten, self._sequence = sequence != self._sequence, sequence
        if not self._may_rest:
            return self._learn(epoll_set()) if has_beaten else Step.NOTHING
        if has_slept and epoll_set() == self._set and is_read():
            return Step.SLEEPS
        if has_beaten or self._asked == sequence:
            return Step.NOTHING
        self._asked = sequence
        return Step.ASK

    def _learn(self, found: int | None) -> Step:
        self._looks = self._looks + 1 if found == self._set else 1
        self._set = found
        self._may_rest = found is not None and self._looks >= LOOKS
        return Step.MAY_REST if self._may_rest else Step.NOTHING


def is_read(descriptors: Iterable[int]) -> bool:
    """Tell whether the other ends of these sockets have read all that was sent: unix(7), SIOCOUTQ."""
    return not any(_unread(descriptor) for descriptor in descriptors)


def _unread(descriptor: int) -> int:
    answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    count: int = struct.unpack("i", answer)[0]
    return count
