"""The reference page of the configuration, written from its settings."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

from tlsrt.config.drop_ins import SETTING as DROP_IN
from tlsrt.config.manifest import SETTING as MANIFEST
from tlsrt.config.schema import FILE
from tlsrt.config.setting import NAME_SAYS, Setting, TableKey, bounds, keys_of

_PLAIN = {"path": "a path", "boolean": "true or false", "free": "any plain value"}


def reference_markdown() -> str:
    """Return the page of the configuration: one section a table, lines of at most 120 characters."""
    sentences = _wrapped(
        "An unknown key is refused. A change is taken by a reload where it says so, otherwise by the next start. "
        f"Where a name is wanted, it is {NAME_SAYS}."
    )
    return _page(["# Configuration", "", FILE.about, "", *sentences], _places({"": FILE}), {})


def manifest_markdown() -> str:
    """Return the page of manifests and drop-ins. What a configuration has, too, is described there."""
    there = {kind: _Link(place, f"configuration.md{_anchor(place)}") for kind, place in _places({"": FILE}).items()}
    sentences = _wrapped("An unknown key is refused. What links to the configuration means the same as there.")
    return _page(["# Manifests", "", *sentences], _places({"manifest": MANIFEST, "drop-in": DROP_IN}), there)


class _Link(NamedTuple):
    name: str
    target: str


def _page(head: list[str], places: Mapping[type[Any], str], there: Mapping[type[Any], _Link]) -> str:
    here = {kind: place for kind, place in places.items() if kind not in there}
    links = {**there, **{kind: _Link(place, _anchor(place)) for kind, place in here.items()}}
    lines = head
    for kind, place in here.items():
        if place:
            lines += ["", f"## `{place}`", "", *_wrapped((kind.__doc__ or "").partition("\n")[0])]
        lines.append("")
        for name, key in keys_of(kind).items():
            lines += _entry(name, key, links)
    return "\n".join(lines) + "\n"


def _places(roots: Mapping[str, Setting]) -> dict[type[Any], str]:
    found: dict[type[Any], str] = {}
    for place, setting in roots.items():
        _find_tables(setting, place, found)
    return found


def _anchor(place: str) -> str:
    return f"#{re.sub(r'[^a-z0-9_-]', '', place.lower())}"


def _find_tables(setting: Setting, place: str, found: dict[type[Any], str]) -> None:
    """Add every table and its place; one that stands in two places is described at the first."""
    if setting.item is not None:
        _find_tables(setting.item, f"{place}.NAME" if setting.kind == "map" else place, found)
    if setting.table is not None and setting.table not in found:
        found[setting.table] = place
        for name, key in keys_of(setting.table).items():
            _find_tables(key.setting, f"{place}.{name}".strip("."), found)


def _entry(name: str, key: TableKey, links: Mapping[type[Any], _Link]) -> list[str]:
    setting = key.setting
    facts = [_kind(setting, links)]
    if key.required:
        facts.append("required")
    elif key.default not in (None, ""):
        facts.append(f"default {_code(key.default)}")
    elif setting.default_says:
        facts.append(f"default: {setting.default_says}")
    if setting.on_reload:
        facts.append("taken by a reload")
    lines = [*_wrapped(f"- `{name}`: {setting.about}", "  "), *_wrapped(f"    - {'; '.join(facts)}", "      ")]
    return [*lines, f"    - example: `{name}: {setting.example}`"] if setting.example else lines


def _kind(setting: Setting, links: Mapping[type[Any], _Link]) -> str:
    limits = bounds(setting)
    if setting.table is not None:
        link = links[setting.table]
        plain = f", or its `{setting.short}` alone" if setting.short else ""
        return f"a table, see [`{link.name}`]({link.target}){plain}"
    if setting.item is not None:
        item = _kind(setting.item, links)
        if setting.kind == "map":
            return f"a table, {limits} entries; its keys: {_says(setting)}; its values: {item}"
        return f"a list, {limits} entries{f', or `{setting.word}`' if setting.word else ''}; its entries: {item}"
    if setting.choices:
        return " or ".join(f"`{word}`" for word in setting.choices)
    if setting.says or setting.kind in _PLAIN:
        return _says(setting) if setting.says else _PLAIN[setting.kind]
    if setting.kind == "text":
        return f"text, {limits} characters"
    unit = f" ({setting.unit})" if setting.unit else ""
    return f"{'whole ' if setting.kind == 'integer' else ''}number {limits}{unit}"


def _says(setting: Setting) -> str:
    return "a name" if setting.says == NAME_SAYS else setting.says


def _code(default: object) -> str:
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _wrapped(text: str, indent: str = "") -> list[str]:
    parts = re.split(r"(`[^`]*`)", text)
    escaped = "".join(part if part.startswith("`") else part.replace("*", r"\*") for part in parts)
    return textwrap.wrap(escaped, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
