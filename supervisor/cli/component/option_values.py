"""Values of options for `component add`: those of `--option`, and those that it cannot do without."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence

import yaml

from tlsrt.config.declared_calls import FindSource
from tlsrt.config.manifest import ParsedManifest
from tlsrt.config.required_options import RequiredOption, required_options
from tlsrt.config.setting import IDENTIFIER
from tlsrt.errors import InvalidArgument
from tlsrt.text import printable

_SHOWN = 200  # characters of what a package says of an option


def given_options(texts: Sequence[str]) -> dict[str, object]:
    """Return the options that NAME=VALUE say, each value as YAML. Raises InvalidArgument."""
    return dict(map(_option, texts))


def lacking(
    manifest: ParsedManifest, find: FindSource, given: Mapping[str, object] | None = None
) -> list[RequiredOption]:  # fmt: skip
    """Return the options that the class of a manifest cannot run without and that are not `given`."""
    found = required_options(str(manifest.tree.get("class", "")), find)
    return [one for one in found if one.name not in (given or {})]


def complete_options(
    address: str, missing: Sequence[RequiredOption], arguments: argparse.Namespace, also: str = ""
) -> dict[str, object]:  # fmt: skip
    """Return values for options that are missing, as they are typed at the terminal.

    Without one, with `--yes`, or where nothing is typed, raises InvalidArgument with how to give all of them; `also`
    is what else must be said then.
    """
    found: dict[str, object] = {}
    if not arguments.yes and sys.stdin.isatty():
        for one in missing:
            if not (text := _typed(address, one)):
                break
            found[one.name] = _value(text)
    left = [one for one in missing if one.name not in found]
    if not left:
        return found
    names = ", ".join(f"{one.name}{f' ({_said(one.doc)})' if one.doc else ''}" for one in left)
    how = " ".join(f"--option '{one.name}={printable(one.example, _SHOWN)}'" for one in missing)
    raise InvalidArgument(
        f"{address} does not run without the option{'s' if len(left) > 1 else ''} {names}: nothing was added; "
        f"add it with {how}{also}"
    )


def _typed(address: str, one: RequiredOption) -> str:
    about = f", {_said(one.doc)}" if one.doc else ""
    out = sys.stderr  # the answer of `--json` is on the other
    print(f"{address} needs the option {one.name}{about}", file=out)
    print(f"{one.name} (such as {printable(one.example, _SHOWN)}): ", end="", file=out, flush=True)
    return sys.stdin.readline().strip()


def _said(doc: str) -> str:
    return printable(doc, _SHOWN).removesuffix(".")


def _option(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(IDENTIFIER, name):
        raise InvalidArgument(f'"{printable(text, 60)}" is no option: write NAME=VALUE')
    return name, _value(value)


def _value(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
