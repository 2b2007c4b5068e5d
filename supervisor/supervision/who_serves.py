"""Who serves: when a start is over, and who is missing then. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tlsrt.channels.control.life import LoopState
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.states import SETTLED

_NAMED = 3


def has_started(loops: Sequence[Loop]) -> bool:
    """Tell whether the first serves or is given up, and each other one has begun, or has failed at least once.

    One that fails is tried again for a while; a start waits for its first try only.
    """
    first, *others = loops
    return first.state in SETTLED and all(one.state in SETTLED or one.last_death is not None for one in others)


def without(loops: Sequence[Loop]) -> str:
    """Name those that do not serve; return nothing if all do."""
    names = [loop.name for loop in loops if loop.state is not LoopState.ACTIVE]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return f"without {', '.join([*names[:_NAMED], *more])}" if names else ""
