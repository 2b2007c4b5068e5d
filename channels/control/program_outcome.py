"""How a run of a program has ended, as the life protocol carries it."""

from __future__ import annotations

from enum import IntEnum


class Outcome(IntEnum):
    """The kinds of ends; `status` beside it is an exit status for ENDED, a signal for SIGNALLED."""

    ENDED = 0  # by itself
    SIGNALLED = 1  # by a signal that the supervisor did not send
    DEADLINE = 2  # it took longer than its `seconds`
    MEMORY = 3  # the kernel, for more memory than its group has
    FORBIDDEN = 4  # it made a call that no program may make
    CANCELLED = 5  # its component has let go of it
    REFUSED = 6  # its arguments fit no form; what it would have said is why
    CHANGED = 7  # a file of it is not what was sealed
    FAILED = 8  # it could not be started; the supervisor's console and log say why
    BUSY = 9  # as many run as may, or too many were asked for
    STATE = 10  # its folder /state holds more than its `state_mb`


SENTENCES = {
    Outcome.ENDED: "it ended",
    Outcome.SIGNALLED: "a signal ended it",
    Outcome.DEADLINE: "it took longer than its `seconds`",
    Outcome.MEMORY: "it used more than its `memory_mb`",
    Outcome.FORBIDDEN: "it made a system call that no program may make",
    Outcome.CANCELLED: "it was not wanted any more",
    Outcome.REFUSED: "its arguments were refused",
    Outcome.CHANGED: "a file of it has changed since the host was sealed; seal and reload",
    Outcome.FAILED: "it could not be started; the console of the host says why",
    Outcome.STATE: "its /state holds more than its `state_mb`",
    Outcome.BUSY: "as many run as may at once, or too many were asked for in a second",
}
