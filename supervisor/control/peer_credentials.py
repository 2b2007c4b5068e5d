"""Who belongs to the runtime, by the number that the kernel gives of a peer (SO_PEERCRED).

All of it may share one uid with the operator, so a uid does not tell a captured loop from a caller that may command
us. The number is that of a process, whichever of its threads connected, in our own pid namespace; 0 is a process
outside it.
"""

from __future__ import annotations

import os
from collections.abc import Collection

_FIRST = 1  # of a pid namespace


def is_kin(pid: int, children: Collection[int], own: int | None = None) -> bool:
    """Say whether the peer is a process of the runtime, or was one; `own` is our number (None: ask).

    As process 1 we have a pid namespace to ourselves: every process in there is ours, descendants of loops too. Without
    one `children` are known, and a process that has ended since it connected is taken for one: it waits for no answer.
    """
    own = os.getpid() if own is None else own
    if pid in (0, own):
        return False
    if own == _FIRST or pid in children:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # root's, where we are not root
    return False
