"""The text of an older configuration as one of the newest version: its comments and its order stay. Pure.

From 1 to 2: `${` begins the name of a variable, so `$${` stands for what was plain text before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tlsrt.config.document import VERSION, ConfigFiles, document_of, text_of
from tlsrt.config.variables import REFERENCE
from tlsrt.config.yaml_nodes import YamlNode
from tlsrt.errors import ConfigError


def version_of(data: bytes, path: Path) -> int:
    """Return the version of a configuration that can be read. Raises ConfigError."""
    document = document_of(ConfigFiles(data), path)
    if document.root is None or document.root.pairs is None:
        document.problems.raise_if_any()
        raise ConfigError(f"{path}:1:1: this is no configuration")
    return document.version


def migrated(data: bytes, path: Path) -> bytes:
    """Return the bytes of the newest version. Raises ConfigError where it would not mean the same."""
    text = text_of(data, path)
    root = _composed(text, path)
    made, at = "", 0
    for begin, end, new in sorted(_edits(root, text)):
        made += text[at:begin] + new
        at = end
    made += text[at:]
    result = made.encode("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8")
    before, after = (document_of(ConfigFiles(one), path) for one in (data, result))
    after.problems.raise_if_any()
    if _content(before.root) != _content(after.root):
        raise ConfigError(f"{path}:1:1: not all of it can be migrated: write $${{ where ${{ is text, and version: 2")
    return result


def _composed(text: str, path: Path) -> Any:
    """Return the nodes with their places in the text, which only the reader in Python gives; it is the narrower one."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        why = getattr(error, "problem", None) or "a character that cannot stand there"
        raise ConfigError(f"{path}:{place}: cannot be migrated: {why}; write this in another way") from None


def _edits(root: Any, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (begin, end, new text) of each value that changes."""
    for key, value in root.value:
        if key.value == "version":
            yield value.start_mark.index, value.end_mark.index, str(VERSION)
        else:
            yield from _escaped(value, text)


def _escaped(node: Any, text: str) -> Iterator[tuple[int, int, str]]:
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _escaped(value, text)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _escaped(item, text)
    else:
        begin, end = node.start_mark.index, node.end_mark.index
        raw = text[begin:end]
        if (new := REFERENCE.sub(r"$\1{", raw)) != raw:
            yield begin, end, new


def _content(node: YamlNode | None, *, is_top: bool = True) -> object:
    """Return what a tree says, without the version and without places."""
    if node is None:
        return None
    if node.items is not None:
        return [_content(item, is_top=False) for item in node.items]
    if node.pairs is not None:
        return [
            (key.text, _content(value, is_top=False))
            for key, value in node.pairs
            if not (is_top and key.text == "version")
        ]
    return node.tag, node.text
