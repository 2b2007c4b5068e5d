"""The `tlsrt` command: an external client of a running host.

Imports are late so that `--help` and mistakes answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Coroutine, Sequence

from tlsrt.channels.cli.verbs import COMMAND
from tlsrt.command_line import run
from tlsrt.command_line.fitted import is_wide
from tlsrt.command_line.table import Verb


def main(words: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run.main(COMMAND, _perform, words)


def _perform(verb: Verb, arguments: argparse.Namespace) -> int:
    answer = run.function(COMMAND, verb.run)(arguments)
    if isinstance(answer, Coroutine):
        import asyncio

        answer = asyncio.run(answer)
    if answer is not None:
        from tlsrt.output import to_json

        run.show(COMMAND, verb, answer, to_json if arguments.json else None, is_wide=is_wide(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
