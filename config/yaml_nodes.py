"""YAML text to nodes that know their line and column, or to plain values. Pure.

Built on the parser's events instead of yaml.compose, because only events show an unused anchor, an explicit tag, or
nesting before it becomes recursion. Aliases, anchors and tags are refused, so the text says all there is to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from tlsrt.errors import ConfigError

MAX_DEPTH = 16
MAX_PROBLEMS = 100
_LINE_BITS = 24  # more lines than a file has bytes
_CORE = "tag:yaml.org,2002:"
_INTEGERS = {"0x": 16, "0o": 8}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is missing where libyaml is


@dataclass(slots=True)
class YamlNode:
    """One value of the file; line and column count from 1."""

    kind: Literal["scalar", "list", "map"]
    line: int
    column: int
    tag: str = ""  # of a scalar: str, int, float, bool, null, timestamp ...
    text: str = ""
    is_plain: bool = False  # a scalar without quotes
    said: str = ""  # what stands in the file, where `text` has values of variables
    items: list[YamlNode] | None = None  # of a list
    pairs: list[tuple[YamlNode, YamlNode]] | None = None  # of a map, doubles included


class Problems:
    """Collects what is wrong with one file, so that the operator sees all of it at once.

    Several files may be read as one. Then a line counts from `first_line` of its file, so that all lines have an order
    and each says which file it is of.
    """

    def __init__(self, file: str, more: Sequence[str] = ()) -> None:
        self._files = (file, *more)
        self._found: list[tuple[int, int, str]] = []

    def add(self, line: int, column: int, sentence: str) -> None:
        self._found.append((line, column, sentence))

    def file(self, line: int) -> str:
        """Return the file that a line is of."""
        return self._files[line >> _LINE_BITS]

    def line(self, line: int) -> int:
        """Return the number of a line in its file."""
        return line & ((1 << _LINE_BITS) - 1)

    def place(self, line: int, column: int) -> str:
        """Return `FILE:LINE:COL`."""
        return f"{self.file(line)}:{self.line(line)}:{column}"

    def raise_if_any(self) -> None:
        """Raise ConfigError with each problem as `FILE:LINE:COL: sentence`, in their order."""
        if not self._found:
            return
        found = sorted(self._found)
        lines = [f"{self.place(line, column)}: {sentence}" for line, column, sentence in found[:MAX_PROBLEMS]]
        if len(found) > MAX_PROBLEMS:
            lines.append(f"{self._files[0]}: and {len(found) - MAX_PROBLEMS} more problems")
        raise ConfigError(lines)


def first_line(file: int) -> int:
    """Return what is added to the lines of a file that is read together with others, 0 for the first one."""
    return file << _LINE_BITS


class _TooDeep(Exception):
    pass


def _advice(text: str, line: int, column: int, error: yaml.MarkedYAMLError) -> str:
    """Return `; do Y` for the frequent mistakes, or an empty text: the parser says only what it expected."""
    if error.context == "while scanning an alias":
        return '; write a * in quotes: "*"'
    if "mapping values are not allowed" in (error.problem or ""):
        return "; write text with a colon in quotes, or give this line the indentation of its neighbours"
    if "cannot start any token" in (error.problem or ""):
        here = text.split("\n")[line - 1 : line]
        is_tab = "".join(here)[column - 1 : column] == "\t"
        return "; indent with spaces, not with a tab" if is_tab else "; write this value in quotes"
    return ""


def read_document(text: str, problems: Problems, before: int = 0) -> YamlNode | None:
    """Return the one document of `text`, or None after adding a problem. Raises nothing for any text.

    `before` is the `first_line` of the file.
    """
    loader = None
    try:
        loader = _LOADER(text)
        return _Composer(loader, problems, before).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        advice = _advice(text, line, column, error)
        problems.add(before + line, column, f"this is not YAML: {error.problem or error.context}{advice}")
    except yaml.YAMLError as error:
        problems.add(before + 1, 1, f"this is not YAML: {' '.join(str(error).split())}")
    except _TooDeep:
        pass
    finally:
        if loader is not None:
            loader.dispose()
    return None


class _Composer:
    def __init__(self, loader: Any, problems: Problems, before: int) -> None:
        self._loader = loader
        self._problems = problems
        self._before = before

    def document(self) -> YamlNode | None:
        self._loader.get_event()  # StreamStart
        if self._loader.check_event(yaml.StreamEndEvent):
            self._problems.add(self._before + 1, 1, "the file is empty")
            return None
        self._loader.get_event()  # DocumentStart
        root = self._node(0)
        self._loader.get_event()  # DocumentEnd
        if not self._loader.check_event(yaml.StreamEndEvent):
            self._refuse(self._loader.get_event(), "a second document starts here, and only one is allowed")
        return root

    def _node(self, depth: int) -> YamlNode:
        event = self._loader.get_event()
        if depth > MAX_DEPTH:
            self._refuse(event, f"values are nested deeper than {MAX_DEPTH} levels")
            raise _TooDeep
        self._refuse_marks(event)
        line, column = self._before + event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.SequenceStartEvent):
            return YamlNode("list", line, column, items=self._items(depth))
        if isinstance(event, yaml.MappingStartEvent):
            return YamlNode("map", line, column, pairs=self._pairs(depth))
        if isinstance(event, yaml.AliasEvent):
            return YamlNode("scalar", line, column, tag="alias")
        tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        tag = str(tag).removeprefix(_CORE)
        return YamlNode("scalar", line, column, tag=tag, text=event.value, is_plain=event.implicit[0])

    def _items(self, depth: int) -> list[YamlNode]:
        items: list[YamlNode] = []
        while not self._loader.check_event(yaml.SequenceEndEvent):
            items.append(self._node(depth + 1))
        self._loader.get_event()
        return items

    def _pairs(self, depth: int) -> list[tuple[YamlNode, YamlNode]]:
        pairs: list[tuple[YamlNode, YamlNode]] = []
        while not self._loader.check_event(yaml.MappingEndEvent):
            key = self._node(depth + 1)
            pairs.append((key, self._node(depth + 1)))
        self._loader.get_event()
        return pairs

    def _refuse_marks(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"aliases are not allowed: put *{event.anchor} in quotes, or write the value out")
        elif event.anchor is not None:
            self._refuse(event, f"anchors are not allowed: remove &{event.anchor}")
        elif event.tag is not None:
            self._refuse(event, f"tags are not allowed: remove {event.tag.replace(_CORE, '!!')}")

    def _refuse(self, event: Any, sentence: str) -> None:
        self._problems.add(self._before + event.start_mark.line + 1, event.start_mark.column + 1, sentence)


# Plain values


def read_plain(text: str, file: str) -> Any:
    """Return the one document of a data file: maps, lists, texts, integers, booleans, None.

    As strict as a configuration: no anchors, no aliases, no tags, no key twice.
    Raises ConfigError naming `file`, line and column.
    """
    problems = Problems(file)
    node = read_document(text, problems)
    problems.raise_if_any()
    assert node is not None
    value = _plain_value(node, problems)
    problems.raise_if_any()
    return value


def _plain_value(node: YamlNode, problems: Problems) -> Any:
    if node.items is not None:
        return [_plain_value(item, problems) for item in node.items]
    if node.pairs is not None:
        return _plain_map(node.pairs, problems)
    if node.tag == "int":
        return int(node.text, _INTEGERS.get(node.text[:2], 10))
    if node.tag in ("bool", "null"):
        return None if node.tag == "null" else node.text.lower() in ("true", "yes", "on")
    if node.tag != "str":
        problems.add(node.line, node.column, f"a {node.tag} has no meaning here: put {node.text} in quotes")
    return node.text


def _plain_map(pairs: list[tuple[YamlNode, YamlNode]], problems: Problems) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key.tag != "str":
            problems.add(key.line, key.column, "a key must be text")
        elif key.text in found:
            problems.add(key.line, key.column, f"{key.text} stands here for the second time")
        else:
            found[key.text] = _plain_value(value, problems)
    return found
