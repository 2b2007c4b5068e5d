"""How a process of the supervisor's own beside the loops ends: when its channel is closed, or with one line."""

from __future__ import annotations

import os
from collections.abc import Callable

from tlsrt.errors import EX_SOFTWARE, PeerError, one_line


def run_service(name: str, run: Callable[[], int]) -> int:
    """Run the body of a forked, confined process; return its exit code."""
    try:
        return run()
    except PeerError as error:
        if error.reason == "closed":
            return 0  # the supervisor wants it no more
        os.write(2, f"{name}: the supervisor is lost: {error.reason}\n".encode())
    except Exception as error:
        os.write(2, f"{name}: cannot go on: {one_line(error)}\n".encode())
    return EX_SOFTWARE
