"""The command `tlsrt-supervisor`.

Imports are late on purpose: `start` must reach the launcher at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tlsrt.command_line import run
from tlsrt.command_line.table import Verb
from tlsrt.supervisor.cli.verbs import COMMAND


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return run.main(COMMAND, _perform, words)


def _perform(verb: Verb, arguments: argparse.Namespace) -> int:
    if verb.run == "start.start":
        return int(run.function(COMMAND, verb.run)(arguments))
    from tlsrt.supervisor.cli.exchange import perform

    return perform(COMMAND, verb, arguments)


if __name__ == "__main__":
    sys.exit(main())
