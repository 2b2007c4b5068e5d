"""How a command of `tlsrt-supervisor` says what went wrong."""

from __future__ import annotations

import sys

PROGRAM = "tlsrt-supervisor"


def say(*sentences: str) -> None:
    """Print sentences to standard error."""
    for sentence in sentences:
        print(f"{PROGRAM}: {sentence}", file=sys.stderr)
