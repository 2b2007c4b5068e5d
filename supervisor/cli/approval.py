"""The yes of an operator, after reading what is to be done."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TextIO

from tlsrt.errors import InvalidArgument
from tlsrt.supervisor.cli.exchange import say
from tlsrt.text import printable

_YES = ("y", "yes")


def is_approved(blocks: Sequence[Sequence[str]], arguments: argparse.Namespace, question: str) -> bool:
    """Print blocks of lines and take a yes, from the terminal or by --yes. Raises InvalidArgument without both."""
    show(blocks, arguments)
    if arguments.yes:
        return True
    if not sys.stdin.isatty():
        raise InvalidArgument("there is no terminal to ask at: read what is printed above, then say --yes")
    print(f"{question} [y/N] ", end="", file=_shown(arguments), flush=True)
    if sys.stdin.readline().strip().lower() in _YES:
        return True
    say("nothing was changed")
    return False


def show(blocks: Sequence[Sequence[str]], arguments: argparse.Namespace) -> None:
    """Print blocks of lines for people: what a program reads is the answer alone."""
    for lines in blocks:
        print("\n".join([*map(printable, lines), ""]), file=_shown(arguments), flush=True)


def _shown(arguments: argparse.Namespace) -> TextIO:
    return sys.stderr if arguments.json else sys.stdout
