"""The tables of both commands: every entry leads somewhere, and says what it does."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tlsrt.channels.cli.verbs import COMMAND as CLIENT
from tlsrt.command_line.run import function
from tlsrt.command_line.table import Command, Verb
from tlsrt.supervisor.cli.verbs import COMMAND as HOST

BUILT_IN = ("completion", "help")


def verbs_below(verbs: tuple[Verb, ...]) -> Iterator[Verb]:
    for verb in verbs:
        yield verb
        yield from verbs_below(verb.verbs)


EVERY = [(command, verb) for command in (CLIENT, HOST) for verb in verbs_below(command.verbs)]


@pytest.mark.parametrize(("command", "verb"), EVERY, ids=[f"{one.program}-{verb.name}" for one, verb in EVERY])
def test_every_verb_does_something_and_says_what(command: Command, verb: Verb) -> None:
    ways = [bool(verb.verbs), verb.request is not None, bool(verb.run), verb.name in BUILT_IN]
    assert ways.count(True) == 1
    named = [verb.run, verb.lines, verb.unmet]
    if verb.request is not None:
        assert verb.lines
        named += [verb.request.fields] if isinstance(verb.request.fields, str) else []
        attributes = {argument.attribute for argument in verb.arguments}
        assert isinstance(verb.request.fields, str) or attributes >= set(verb.request.fields)
    for name in filter(None, named):
        assert len(inspect.signature(function(command, name)).parameters) == 1, name
    assert verb.text and not verb.text.endswith(".")
    if verb.lines:
        assert "--json" in {word for argument in command.arguments(verb) for word in argument.words}


@pytest.mark.parametrize(("command", "verb"), EVERY, ids=[f"{one.program}-{verb.name}" for one, verb in EVERY])
def test_every_argument_says_what_it_is(command: Command, verb: Verb) -> None:
    arguments = command.arguments(verb)
    assert all(argument.text and (argument.metavar or argument.is_option) for argument in arguments)
    assert len({argument.attribute for argument in arguments}) == len(arguments)
    words = [word for argument in arguments for word in argument.words]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("command", [CLIENT, HOST], ids=["tlsrt", "tlsrt-supervisor"])
def test_names_are_unique(command: Command) -> None:
    for group in (command.verbs, *(verb.verbs for verb in command.verbs)):
        assert len({verb.name for verb in group}) == len(group)


@pytest.mark.parametrize("module", ["tlsrt.channels.cli.verbs", "tlsrt.supervisor.cli.verbs"])
def test_a_table_imports_nothing_that_its_verbs_need(module: str) -> None:
    program = (
        f"import sys, {module}\n"
        "rooms = ('tlsrt.channels.', 'tlsrt.supervisor.', 'tlsrt.config', 'tlsrt.sandbox', 'tlsrt.loops')\n"
        "own = ('tlsrt.channels.cli', 'tlsrt.supervisor.cli', 'tlsrt.supervisor.cli.flags')\n"
        "others = [name for name in sys.modules if name.startswith(rooms) and name not in own]\n"
        "print([name for name in others if not name.endswith('verbs')])"
    )
    done = subprocess.run([sys.executable, "-I", "-B", "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]", done.stderr
