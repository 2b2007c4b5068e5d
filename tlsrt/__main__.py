"""`python -m tlsrt` is the command `tlsrt`, and `python -m tlsrt supervisor` the command `tlsrt-supervisor`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tlsrt.entry import end_on_interrupt


def main(words: Sequence[str]) -> int:
    """Run the command with its words, and return its exit code."""
    end_on_interrupt()
    if words[:1] == ["supervisor"]:
        from tlsrt.supervisor.cli.main import main as supervisor

        return supervisor(words[1:])
    from tlsrt.channels.cli.main import main as client

    return client(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
