"""Results of a component's health check, as the life protocol carries them."""

from __future__ import annotations

from enum import IntEnum


class Readiness(IntEnum):
    """Whether a component says that it is ready; why not, in words, is in the log of the loop."""

    UNASKED = 0  # it has no `ready`
    READY = 1
    NOT_READY = 2


class HealthOutcome(IntEnum):
    """Of one check; what was wrong, in words, is in the log of the loop."""

    GOOD = 1
    FAILED = 2  # it said so, or raised
    TIMED_OUT = 3  # it said nothing in time
