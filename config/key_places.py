"""Where the keys of a configuration stand, for sentences that are found after the file was read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tlsrt.config.document import ConfigFiles, document_of
from tlsrt.config.setting import Where
from tlsrt.config.yaml_nodes import YamlNode
from tlsrt.errors import ConfigError

_PLACED = re.compile(
    r"(?P<file>/[^\n]*?):(?P<line>[1-9][0-9]{0,8}):(?P<column>[1-9][0-9]{0,8}): (?P<rest>.*)", re.DOTALL
)

_OF_FILE = re.compile(r"(?P<file>/[^\n:]*\.ya?ml): (?P<rest>.*)", re.DOTALL)  # of the whole file
_ARROW = re.compile(r"\s*->\s*")  # in a line of policy
_NAMED = re.compile(r"components?[ .](?P<address>[a-z0-9_]+/[a-z0-9_]+):? |(?P<key>[a-z_]+(\.[a-z0-9_]+)*): ")


class Place(NamedTuple):
    """A file, line and column; both count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class KeyPlaces:
    """The keys of one configuration, in its file and its drop-ins."""

    def __init__(self, file: str, files: ConfigFiles) -> None:
        self._file = file
        self._marks: Mapping[Where, tuple[int, int]] = {}
        with suppress(ConfigError):  # what is no text has no keys
            document = document_of(files, Path(file))
            self._problems = document.problems
            self._marks = dict(_marks(document.root, ())) if document.root is not None else {}

    def of(self, where: Where) -> Place:
        """Return where a key stands, or the nearest one around it; the beginning of the file if there is none."""
        for end in range(len(where), 0, -1):
            if where[:end] in self._marks:
                line, column = self._marks[where[:end]]
                return Place(self._problems.file(line), self._problems.line(line), column)
        return Place(self._file)

    def named_by(self, sentence: str) -> Place | None:
        """Return where the key stands that a sentence begins with, `door.key: ...` or `component LOOP/NAME: ...`."""
        found = _NAMED.match(sentence)
        if found is None:
            return None
        where = ("components", found["address"]) if found["address"] else tuple(found["key"].split("."))
        return self.of(where) if len(where) > 1 and where[:1] in self._marks else None


def placed(sentence: str, otherwise: Place) -> tuple[Place, str]:
    """Return the place that a sentence begins with, and the rest of it."""
    found = _PLACED.fullmatch(sentence)
    if found is None:
        file = _OF_FILE.fullmatch(sentence)
        return (Place(file["file"]), file["rest"]) if file is not None else (otherwise, sentence)
    return Place(found["file"], int(found["line"]), int(found["column"])), found["rest"]


def _marks(node: YamlNode, where: Where) -> Iterator[tuple[Where, tuple[int, int]]]:
    for key, child in node.pairs or ():
        name = _ARROW.sub(" -> ", key.text)
        yield (*where, name), (key.line, key.column)
        yield from _marks(child, (*where, name))
    for index, item in enumerate(node.items or ()):
        yield (*where, str(index)), (item.line, item.column)
        yield from _marks(item, (*where, str(index)))
