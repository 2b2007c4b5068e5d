"""A command as completion needs it: which verbs, options and values may stand where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tlsrt.command_line.table import Argument, Command, Verb

_FILES = {"FILE": "file", "DIR": "folder", "FOLDER": "folder"}  # by metavar
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=-]+")  # what no shell takes for anything else


class Value(NamedTuple):
    """A value: one of `choices`, a file or folder by `kind`, or any word."""

    name: str
    choices: tuple[str, ...] = ()
    kind: str = ""
    is_repeated: bool = False
    is_optional: bool = False
    text: str = ""


class CompletionOption(NamedTuple):
    """An option: its words such as ("-f", "--follow"), its help, and its value."""

    words: tuple[str, ...]
    text: str
    value: Value | None


class CommandNode(NamedTuple):
    """A command or a verb of it; `path` has the words that lead here."""

    path: tuple[str, ...]
    text: str
    options: tuple[CompletionOption, ...]
    values: tuple[Value, ...]
    verbs: tuple[CommandNode, ...]

    @property
    def name(self) -> str:
        return self.path[-1]


def node_of(command: Command) -> CommandNode:
    """Return the whole command."""
    return _node(command, command.top, (command.program,))


def _node(command: Command, verb: Verb, path: tuple[str, ...]) -> CommandNode:
    arguments = command.arguments(verb)
    options = tuple(
        CompletionOption(each.words, each.text, _value(each) if each.metavar else None)
        for each in arguments if each.is_option
    )  # fmt: skip
    values = tuple(_value(each) for each in arguments if not each.is_option)
    below = tuple(_node(command, each, (*path, each.name)) for each in verb.verbs)
    return CommandNode(path, verb.text, options, values, below)


def nodes(node: CommandNode) -> Iterator[CommandNode]:
    """Yield a node and all below it."""
    yield node
    for below in node.verbs:
        yield from nodes(below)


def _value(argument: Argument) -> Value:
    assert all(map(_PLAIN.fullmatch, argument.choices)), argument.choices
    kind = "" if argument.choices else _FILES.get(argument.metavar, "")
    is_repeated, is_optional = argument.nargs in ("*", "+"), argument.nargs in ("*", "?")
    return Value(argument.metavar, argument.choices, kind, is_repeated, is_optional, argument.text)
