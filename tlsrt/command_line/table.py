"""A command as data: its verbs with arguments, request, answer as text, and help.

Parsing, help, completion and the reference pages all come from these tables, so a new verb is one entry. Importing a
table imports nothing that a verb needs: what a verb runs is named as "module.function", below the command's package.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple  # dataclasses would cost `start` ten milliseconds

from tlsrt.errors import EX_USAGE
from tlsrt.text import TEN_YEARS_S, parse_duration

ANSWER_S = 10.0


class Argument(NamedTuple):
    """An option, such as ("--follow", "-f"), or a positional argument, such as ("target",)."""

    words: tuple[str, ...]
    text: str
    metavar: str = ""  # what it takes; an option without one takes nothing
    kind: Callable[[str], object] = str  # raises argparse.ArgumentTypeError
    default: object = None
    choices: tuple[str, ...] = ()
    nargs: str = ""  # of a positional argument: "" for one, "?", "*" or "+"
    is_repeated: bool = False  # an option that may stand several times: a list
    name: str = ""  # of the attribute, if the first word does not say it

    @property
    def is_option(self) -> bool:
        return self.words[0].startswith("-")

    @property
    def attribute(self) -> str:
        return self.name or self.words[0].lstrip("-").replace("-", "_")


class Request(NamedTuple):
    """A request over the control socket, with its timeout and the exit code of a refusal.

    `fields` are the arguments that are sent under their own names, or the "module.function" that makes the fields of
    the arguments.
    """

    verb: str
    fields: tuple[str, ...] | str = ()
    timeout_s: float = ANSWER_S
    refused: int = EX_USAGE


class Verb(NamedTuple):
    """One verb, or a group of `verbs`.

    It sends its `request`, or calls the function `run` with the parsed arguments; that returns an exit code, or a
    document. A document is printed as JSON with `--json`, and otherwise as the function `lines` words it. Then the
    function `unmet` may return what it leaves to be desired: sentences for standard error, perhaps none, which make
    the exit code EX_UNAVAILABLE; or None.
    At a terminal sentences are folded, but for those of a verb that `is_raw`: text of files, of logs and of components.
    """

    name: str
    text: str
    arguments: tuple[Argument, ...] = ()
    request: Request | None = None
    run: str = ""
    lines: str = ""
    unmet: str = ""
    verbs: tuple[Verb, ...] = ()
    is_raw: bool = False


class Command(NamedTuple):
    """A command; `common` options may stand before or after the verb, and the later one counts."""

    program: str
    package: str
    text: str
    common: tuple[Argument, ...]
    verbs: tuple[Verb, ...]
    epilog: str

    @property
    def top(self) -> Verb:
        return Verb(self.program, self.text, (VERSION,), verbs=self.verbs)

    def arguments(self, verb: Verb) -> tuple[Argument, ...]:
        """Return every argument that may stand behind a verb, `--help` first."""
        return (_HELP, *self.common, *verb.arguments)


def flag(*words: str, text: str) -> Argument:
    """Return an option that takes nothing."""
    return Argument(words, text, default=False)


def json_flag(text: str) -> Argument:
    return flag("--json", text=text)


WIDE = flag("--wide", "-w", text="all columns and whole lines, also where the terminal is narrower")


def whole_number(text: str) -> int:
    """Return the number in an argument."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number')
    return int(text)


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Return the reader of a duration or number of seconds; `inf` if `most` is infinite."""

    def read(text: str) -> float:
        if text == "inf" == str(most):
            return most
        try:
            return parse_duration(text, least_s=least, most_s=min(most, TEN_YEARS_S), has_default_unit=True)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


_HELP = flag("--help", "-h", text="show this help, and nothing else")
VERSION = flag("--version", text="print the version, and nothing else")
HELP = Verb(
    "help", "show the help of this command, or of a verb",
    (Argument(("words",), "the verb", "VERB", nargs="*"),),
)  # fmt: skip


def completion_verb(program: str) -> Verb:
    """Return the verb `completion` of a command."""
    return Verb(
        "completion",
        f"print what teaches a shell to complete this command: source <({program} completion bash)",
        (Argument(("shell",), "the shell", "SHELL", choices=("bash", "zsh", "fish")),),
    )


Document = dict[str, Any]
