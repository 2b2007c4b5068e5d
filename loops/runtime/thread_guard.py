"""Threads that Python code starts after the seal: each refusal is one sentence that says what to configure.

Without it a library that wants a thread fails with "can't start new thread", and each attempt is a refused system call,
which costs the process points although it is a mistake and no attack. The kernel holds the number, whatever this says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tlsrt.loops.component.work import no_threads

_START = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"  # 3.13
_PAUSES_S = (0.001, 0.002, 0.004, 0.008)  # the kernel counts a thread that was joined for a moment longer


def guard_threads(addresses: str, threads: int | None) -> None:
    """Have `threading` say what is wrong when a thread cannot be started. `threads`: how many were asked for.

    None says that their number is not known, as other parts of the profile let some be made.
    """
    start = getattr(threading, _START)
    setattr(threading, _START, guarded(start, threading.active_count, addresses, threads))


def guarded(
    start: Callable[..., Any], count: Callable[[], int], addresses: str, threads: int | None
) -> Callable[..., Any]:
    """Return `start` with sentences. `count` tells how many threads there are, with the one that begins."""
    before = count()

    def guard(*args: Any, **kwargs: Any) -> Any:
        if threads == 0:
            raise RuntimeError(no_threads(addresses))
        if threads is None:
            return start(*args, **kwargs)
        for pause_s in (*_PAUSES_S, 0.0):
            if count() - before > threads:
                break
            try:
                return start(*args, **kwargs)
            except RuntimeError:
                time.sleep(pause_s)
        raise RuntimeError(
            f"cannot start a thread: all {threads} of {addresses} run; put a larger `threads` under its needs"
        )

    return guard
