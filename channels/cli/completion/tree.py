"""A command as data: its verbs, options and arguments, read from its argparse parsers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import NamedTuple

_FILES = {"FILE": "file", "DIR": "folder", "FOLDER": "folder"}  # by metavar
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=-]+")  # what no shell takes for anything else


class Value(NamedTuple):
    """What an option or argument takes: one of `choices`, else a `kind` of "file", "folder" or "" for any word."""

    name: str
    choices: tuple[str, ...] = ()
    kind: str = ""
    is_repeated: bool = False


class CompletionOption(NamedTuple):
    """One option: its words such as ("-f", "--follow"), its help, and what it takes, if anything."""

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


def node_of(parser: argparse.ArgumentParser, path: tuple[str, ...], text: str = "") -> CommandNode:
    """Return what a parser takes, with the verbs of its subparsers below it. What its help hides is left out."""
    options: list[CompletionOption] = []
    values: list[Value] = []
    verbs: list[CommandNode] = []
    for action in parser._actions:  # argparse gives no other way, and has kept it for as long as there is argparse
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            verbs += [node_of(below, (*path, name), texts.get(name, "")) for name, below in action.choices.items()]
        elif action.help == argparse.SUPPRESS:
            continue
        elif action.option_strings:
            value = None if action.nargs == 0 else _value(action)
            options.append(CompletionOption(tuple(action.option_strings), _text(action), value))
        else:
            values.append(_value(action))
    return CommandNode(path, text, tuple(options), tuple(values), tuple(verbs))


def nodes(node: CommandNode) -> Iterator[CommandNode]:
    """Yield a node and all below it."""
    yield node
    for below in node.verbs:
        yield from nodes(below)


def _value(action: argparse.Action) -> Value:
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    choices = tuple(str(choice) for choice in action.choices or ())
    assert all(map(_PLAIN.fullmatch, choices)), choices
    return Value(name, choices, "" if choices else _FILES.get(name, ""), action.nargs in ("*", "+"))


def _text(action: argparse.Action) -> str:
    """Return the help without what argparse would fill in."""
    return re.sub(r"\s*\(?%\([^)]*\)\w\)?", "", action.help or "").replace("%%", "%")
