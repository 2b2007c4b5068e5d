"""Parse a command line into a verb and its arguments.

A mistake is one sentence and exit code 64 (sysexits.h).
Each level has a parser of its own, made when it is reached: the command with its options, a group of verbs, the verb.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tlsrt.command_line.table import HELP, Argument, Command, Verb
from tlsrt.errors import EX_USAGE
from tlsrt.text import did_you_mean


class _Parser(argparse.ArgumentParser):
    """argparse with our exit code, one sentence, and a hint at what was meant."""

    def __init__(self, command: Command, verb: Verb, path: Sequence[str]) -> None:
        self._command = command
        self._verb = verb
        super().__init__(
            " ".join(path),
            usage=f"{' '.join(path)} [OPTION...] VERB ..." if verb.verbs else None,
            description=_description(verb),
            epilog=command.epilog if len(path) == 1 else None,
            formatter_class=argparse.RawDescriptionHelpFormatter if verb.verbs else argparse.HelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        for argument in command.arguments(verb):
            _add(self, argument, is_common=argument in command.common)
        if verb.verbs:
            self.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
            self.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)

    def error(self, message: str) -> NoReturn:
        see = "? See" if message.endswith("?") else "; see"
        self.exit(EX_USAGE, f"{self._command.program}: {message.removesuffix('?')}{see} `{self.prog} --help`\n")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Return what the words say; options may stand between arguments."""
        read = self.parse_known_args if self._verb.verbs else self.parse_known_intermixed_args
        found, unknown = read(list(words))
        if unknown:
            self._refuse(unknown)
        return found

    def below(self, name: str | None) -> Verb:
        """Return the verb of that name below this one."""
        names = [verb.name for verb in self._verb.verbs]
        if name is None:
            self.error("say what to do: " + ", ".join(names))
        if name not in names:
            self.error(f'there is no verb "{name}"{_meant(name, names) or ", only " + ", ".join(names)}')
        return self._verb.verbs[names.index(name)]

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        for word in unknown:
            if word.startswith("-") and word != "--":
                option = word.partition("=")[0]
                known = [each for argument in self._command.arguments(self._verb) for each in argument.words]
                names = [each[2:] for each in known if each.startswith("--")]  # dashes would resemble each other
                self.error(f"there is no option {option}{_meant(option.lstrip('-'), names, '--')}")
        self.error(f"too many arguments: {' '.join(unknown)}")


def parse(command: Command, words: Sequence[str]) -> tuple[Verb, argparse.Namespace]:
    """Return the verb and its arguments; raise SystemExit for a mistake, help and the version."""
    values: dict[str, Any] = {argument.attribute: argument.default for argument in command.common}
    verb, path = command.top, [command.program]
    while verb.verbs:
        parser = _Parser(command, verb, path)
        found = vars(parser.read(words))
        name, words = found.pop("verb"), found.pop("rest")
        if found.pop("version", False):
            _version(parser)
        values.update(found)
        verb = parser.below(name)
        path.append(verb.name)
    values.update(vars(_Parser(command, verb, path).read(words)))
    if verb is HELP:
        _help(command, values["words"])
    return verb, argparse.Namespace(**values)


def _version(parser: argparse.ArgumentParser) -> NoReturn:
    from tlsrt import __version__

    print(f"tlsrt {__version__}")
    parser.exit()


def _help(command: Command, words: Sequence[str]) -> NoReturn:
    verb, path = command.top, [command.program]
    parser = _Parser(command, verb, path)
    for word in words:
        verb = parser.below(word)
        path.append(word)
        parser = _Parser(command, verb, path)
    parser.print_help()
    parser.exit()


def _description(verb: Verb) -> str:
    if not verb.verbs:
        return verb.text
    width = max(len(below.name) for below in verb.verbs)
    lines = "\n".join(f"  {below.name:<{width}}  {below.text}" for below in verb.verbs)
    return f"{verb.text}\n\nverbs:\n{lines}"


def _add(parser: argparse.ArgumentParser, argument: Argument, *, is_common: bool) -> None:
    text = f"{argument.text}: {', '.join(argument.choices)}" if argument.choices else argument.text
    settings: dict[str, Any] = {"help": text.replace("%", "%%"), "default": argument.default}
    if argument.words[0] == "--help":
        settings["action"] = "help"
    elif not argument.metavar:
        settings["action"] = "store_true"
    else:
        settings["metavar"] = argument.metavar
        settings["type"] = _one_of(argument.choices) if argument.choices else argument.kind
    if argument.is_repeated:
        settings["action"] = "append"
    if argument.nargs:
        settings["nargs"] = argument.nargs
    if argument.is_option:
        settings["dest"] = argument.attribute
    if is_common or argument.words[0] == "--help":
        settings["default"] = argparse.SUPPRESS
    parser.add_argument(*argument.words, **settings)


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f'"{text}" is none of {", ".join(choices)}')
        return text

    return read


def _meant(word: str, known: Sequence[str], prefix: str = "") -> str:
    return did_you_mean(word, known).replace("mean ", f"mean {prefix}", 1)
