"""Manifest: what a package says of a component that it brings, in a file of its own folder. Pure.

The operator approves it with `tlsrt-supervisor component add`; what it asks for is judged as if it stood in the
configuration. `drop_ins.py` puts both together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlsrt.config.access import METHOD
from tlsrt.config.components import ComponentConfig
from tlsrt.config.setting import (
    ADDRESS,
    ADDRESS_SAYS,
    IDENTIFIER,
    Setting,
    Where,
    boolean,
    count,
    listing,
    mapping,
    table,
    text,
)
from tlsrt.config.validation import Checker
from tlsrt.config.yaml_nodes import Problems, YamlNode, read_document
from tlsrt.errors import ConfigError

GROUP = "tlsrt.components"  # of entry points: NAME = PACKAGE, or PACKAGE:NAME where a package brings several
PACKAGE = rf"{IDENTIFIER}(?:\.{IDENTIFIER})*"  # or a folder in it, with dots
FILE = "tlsrt.yaml"
MANIFEST_MAX = 1 << 16
_ENTRY = re.compile(rf"\s*({PACKAGE})\s*(?::\s*([a-z][a-z0-9_]*)\s*)?")


@dataclass(frozen=True, slots=True)
class PeerCalls:
    """Methods of another component that it calls, and the reason."""

    methods: tuple[str, ...] = field(
        metadata=listing('The methods, or "*" for all.', METHOD, 64, least=1, word="*", example="[get, put]")
    )
    why: str = field(metadata=text("The reason.", least=3, most=1000, example="it keeps its notes there"))
    optional: bool = field(
        default=False,
        metadata=boolean("It does without where that component is not there: nothing is said of that then."),
    )


@dataclass(frozen=True, slots=True)
class Manifest(ComponentConfig):
    """One component of a package: what it is, and what it asks for."""

    options: Mapping[str, object] = field(default_factory=dict[str, object])  # are the operator's
    version: int = field(
        kw_only=True,
        metadata=count("The version of this format.", 1, 1, key="manifest", choices=(1,), required=True),
    )
    address_wish: str = field(
        kw_only=True,
        metadata=text(
            "Its address, loop/name, unless the operator chooses another one.",
            key="component",
            pattern=ADDRESS,
            says=ADDRESS_SAYS,
            example="third/kettle",
        ),
    )
    title: str = field(
        kw_only=True, metadata=text("What it is, in one line.", least=3, most=100, example="boils water")
    )
    calls: Mapping[str, PeerCalls] = field(
        default_factory=dict[str, PeerCalls],
        metadata=mapping(
            "What it calls of other components, by address: policy lines are made of it.",
            table(PeerCalls),
            64,
            ADDRESS,
            ADDRESS_SAYS,
            example="{secondary/store: {methods: [get, put], why: it keeps its notes there}}",
        ),
    )


SETTING: Setting = table(Manifest)["setting"]
_JOINED = ("needs", "programs", "health")
_OWN = ("manifest", "component", "title", "calls")  # what no `components` of a configuration has


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """A manifest that was checked: its own values, and the tree of its component as a configuration would have it."""

    address: str
    title: str
    calls: Mapping[str, Sequence[str]]
    tree: Mapping[str, Any]
    places: Mapping[Where, str]  # keys of the file -> FILE:LINE:COL
    reasons: Mapping[str, str]  # address that it calls -> why
    optional: frozenset[str]  # addresses that it calls only where they are there
    file: Path


def parse_manifest(data: bytes, path: Path) -> ParsedManifest:
    """Return what a manifest says. Raises ConfigError with every problem as `FILE:LINE:COL: sentence`."""
    tree, places = checked_tree(data, path, SETTING)
    calls = tree.get("calls", {})
    return ParsedManifest(
        tree["component"],
        tree["title"],
        {address: tuple(one["methods"]) for address, one in calls.items()},
        {key: value for key, value in tree.items() if key not in _OWN},
        places,
        {address: one["why"] for address, one in calls.items()},
        frozenset(address for address, one in calls.items() if one.get("optional")),
        path,
    )


def changed_tree(tree: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component's tree with what an operator says instead: of `needs`, `programs`, `health` key by key."""
    joined = {key: {**(tree.get(key) or {}), **(said[key] or {})} for key in _JOINED if key in said}
    return {**tree, **said, **joined}


def checked_tree(
    data: bytes,
    path: Path,
    setting: Setting,
    prepare: Callable[[YamlNode, Problems], None] = lambda root, problems: None,
) -> tuple[Mapping[str, Any], Mapping[Where, str]]:
    """Return the checked values of a small file, and where each of its keys stands. Raises ConfigError.

    `prepare` may change the tree before it is checked.
    """
    problems = Problems(str(path))
    try:
        root = read_document(data.decode("utf-8-sig"), problems)
    except UnicodeDecodeError:
        raise ConfigError(f"{path}:1:1: the file is not UTF-8 text") from None
    problems.raise_if_any()
    if root is None:
        raise ConfigError(f"{path}:1:1: the file is empty")
    prepare(root, problems)
    checker = Checker(problems)
    value = checker.check(root, setting)
    problems.raise_if_any()
    assert isinstance(value, dict)
    return value, {where: f"{path}:{line}:{column}" for where, (line, column) in checker.marks.items()}


def manifest_of_entry(value: str) -> tuple[str, str]:
    """Return the package and the file of an entry point's value, `PACKAGE` or `PACKAGE:NAME`. Raises ConfigError.

    The package may be one in another one, with dots: its manifest lies in that folder.
    """
    match = _ENTRY.fullmatch(value)
    if match is None:
        raise ConfigError(
            f"the entry point {value!r} of {GROUP} names no manifest: write PACKAGE for PACKAGE/{FILE}, "
            f"or PACKAGE:NAME for PACKAGE/NAME.{FILE}"
        )
    return match[1], f"{match[2]}.{FILE}" if match[2] else FILE


def path_in(package: str, name: str) -> Path:
    """Return where a manifest lies, relative to the folder that a package is imported from."""
    return Path(*package.split("."), name)


def top_level(package: str) -> str:
    """Return the package that another one is in, or is."""
    return package.partition(".")[0]
