"""`--needs KEY=VALUE` of `component add`: what takes the place of a need of the manifest, on this host."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tlsrt.config.drop_ins import SETTING
from tlsrt.config.manifest import ParsedManifest, checked_tree
from tlsrt.config.needs import NeedsConfig
from tlsrt.config.setting import keys_of
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.text import did_you_mean, printable

_OPTION = "--needs"
PROGRAMS = "programs"
_PLACE = re.compile(rf"^{_OPTION}:\d+:\d+: ")
_SHOWN = 60


def parse_needs(texts: Sequence[str], manifest: ParsedManifest) -> dict[str, Any]:
    """Return what a drop-in says instead of its manifest, under `needs` and `programs`, each need and program whole.

    That is `devices.line.path=/dev/ttyUSB1`, or `programs.ffmpeg.memory_mb=512` for a program of the manifest.

    A key has a dot before each key within it; an entry of a list is named by its `name`, or by its number from 0.
    Values are YAML.
    Raises InvalidArgument for a key that there is not, and for what no `needs` may have.
    """
    found: dict[str, Any] = {}
    programs: dict[str, Any] = {}
    wishes = manifest.tree.get("needs") or {}
    for text in texts:
        key, equals, value = text.partition("=")
        first, *within = key.split(".")
        if not equals or not all((first, *within)):
            raise InvalidArgument(f'"{printable(text, _SHOWN)}" says no need: write {_OPTION} KEY=VALUE')
        if first == PROGRAMS:
            _put_program(programs, manifest.tree.get(PROGRAMS) or {}, within, _value(key, value), key)
            continue
        if first not in keys_of(NeedsConfig):
            hint = did_you_mean(first, keys_of(NeedsConfig)) or f": it asks for {', '.join(wishes) or 'nothing'}"
            raise _wrong(key, f"there is no need {printable(first, _SHOWN)}{hint}")
        if within and not found.get(first, wishes.get(first)):
            raise _wrong(key, f"it asks for no {first}: give the value whole")
        holder: Any = {first: found.get(first, copy.deepcopy(wishes.get(first)))}
        _put(holder, [first, *within], _value(key, value), key)
        found |= holder
    said = {name: one for name, one in (("needs", found), (PROGRAMS, programs)) if one}
    if said:
        _check(said)
    return said


def _put_program(
    said: dict[str, Any], wishes: Mapping[str, Any], keys: Sequence[str], value: object, whole: str
) -> None:
    """Put a value into a program of the manifest: operators change what a package runs, and name no other program."""
    if len(keys) < 2:
        raise _wrong(whole, f"say which key of which program: {PROGRAMS}.NAME.KEY=VALUE")
    name = keys[0]
    if name not in wishes:
        raise _wrong(whole, f"there is no program {printable(name, _SHOWN)}: it has {', '.join(wishes) or 'none'}")
    said.setdefault(name, copy.deepcopy(wishes[name]))
    _put(said[name], keys[1:], value, whole)


def _wrong(key: str, sentence: str) -> InvalidArgument:
    return InvalidArgument(f"{_OPTION} {printable(key, _SHOWN)}: {sentence}")


def _value(key: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise _wrong(key, "the value is not YAML: quote it") from None


def _put(holder: Any, keys: Sequence[str], value: object, whole: str) -> None:
    """Put a value in its place; `holder` is what the first key is of."""
    first, *rest = keys
    at: Any = _entry(holder, first, whole) if isinstance(holder, list) else first
    if not rest:
        holder[at] = value
        return
    inner = holder[at] if isinstance(holder, list) else holder.get(at)
    if inner is None and isinstance(holder, dict):
        inner = holder[at] = {}
    if not isinstance(inner, (dict, list)):
        raise _wrong(whole, f"{printable(first, 20)} has no keys of its own: give it a value whole")
    _put(inner, rest, value, whole)


def _entry(entries: list[Any], word: str, whole: str) -> int:
    """Return which entry of a list a word names: by its `name`, or by its number."""
    names = [str(one["name"]) if isinstance(one, dict) and "name" in one else str(at) for at, one in enumerate(entries)]
    for known in (names, [str(at) for at in range(len(entries))]):
        if word in known:
            return known.index(word)
    there = f"it has {', '.join(names)}" if names else "it has none"
    raise _wrong(whole, f"there is no entry {printable(word, _SHOWN)}: {there}")


def _check(said: dict[str, Any]) -> None:
    """Refuse what a drop-in could not have. Raises InvalidArgument."""
    text = yaml.safe_dump({"manifest": "approved", **said}, allow_unicode=True)
    try:
        checked_tree(text.encode(), Path(_OPTION), SETTING)
    except ConfigError as error:
        raise InvalidArgument(f"{_OPTION}: {_PLACE.sub('', error.problems[0])}") from None
