"""Heartbeat name: the name that an event loop's thread gives itself with each beat.

A beat is a record on a descriptor, and any thread of the process may write it. Its number is therefore also put into
the name of the thread that runs the event loop (`secondary/00042`), before the record is sent. A thread can name only
itself by prctl(2), and no loop has a /proc that it may write; so while an event loop is stuck, no other thread can put
a higher number there, and the supervisor, which reads /proc/PID/task/PID/comm with every record, takes none. Pure.
"""

from __future__ import annotations

import re

NAME_MAX = 15  # bytes of a thread's name, PR_SET_NAME in prctl(2)
_ROUND = 100_000  # numbers are carried modulo this
_HALF = _ROUND // 2  # further ahead than this is behind
_DIGITS = 5
_CARRIED = re.compile(rb"/([0-9]{5})")


def pulse_name(loop: str, number: int) -> bytes:
    """Return the name of the thread of a loop's event loop as it sends the beat of that number."""
    start = loop.encode("ascii", "replace")[: NAME_MAX - 1 - _DIGITS]
    return b"%b/%05d" % (start, number % _ROUND)


def is_carried(comm: bytes, number: int, last: int) -> bool:
    """Tell whether a thread of that name has sent the beat `number`, after the one numbered `last`.

    It may have sent later ones already. `comm` is the text of /proc/PID/task/TID/comm.
    """
    found = _CARRIED.search(comm)
    if found is None or not 0 < number - last < _HALF:
        return False
    return (int(found[1]) - number) % _ROUND < _HALF
