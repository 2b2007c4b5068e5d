"""Versions of installed packages, for libraries that ask for one when they are used: `importlib.metadata.version`.

A sealed process reads no folder of packages. So the names of the folders `NAME-VERSION.dist-info` are kept before the
seal, and answer where nothing else is found: name and version, and nothing of what else is written there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

_FOLDER = re.compile(r"([A-Za-z0-9][A-Za-z0-9._]*)-([A-Za-z0-9][A-Za-z0-9._+!]*)\.dist-info")


def versions_in(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return names and versions by the normalized name (PEP 503), the first of each. Pure."""
    found: dict[str, tuple[str, str]] = {}
    for match in filter(None, map(_FOLDER.fullmatch, names)):
        found.setdefault(_normalized(match[1]), (match[1], match[2]))
    return found


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def remember_versions() -> None:
    """Keep those that are there now, if a component has imported `importlib.metadata`."""
    metadata: Any = sys.modules.get("importlib.metadata")
    if metadata is not None:
        _answer_with(metadata, versions_in(name for folder in sys.path for name in _listed(folder)))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _answer_with(metadata: Any, known: Mapping[str, tuple[str, str]]) -> None:
    kind: Any = metadata.Distribution

    class Remembered(kind):  # type: ignore[misc]
        """A distribution of which name and version are known."""

        def __init__(self, name: str, version: str) -> None:
            self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n"

        def read_text(self, filename: str) -> str | None:
            return self._text if filename == "METADATA" else None

        def locate_file(self, path: Any) -> Any:
            raise FileNotFoundError(f"{path}: a sealed process reads no code")

    assert Remembered("any", "1").version == "1"  # which imports what it wants late
    look_for = kind.from_name

    def from_name(name: str) -> Any:
        try:
            return look_for(name)
        except metadata.PackageNotFoundError:
            if (found := known.get(_normalized(name or ""))) is None:
                raise
            return Remembered(*found)

    kind.from_name = staticmethod(from_name)
