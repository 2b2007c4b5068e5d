"""Installed distributions: name, version, top-level names and requirements, read from their metadata.

The Core Metadata and `RECORD` specifications of packaging.python.org, as far as a measurement needs them. Markers
but `extra` are not evaluated: a requirement that is installed counts, as it may be imported. Nothing is imported.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_ENDINGS = (".dist-info", ".egg-info")
_METADATA_BYTES = 1 << 20
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
_IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+([A-Za-z_]\w*)[\w.]*[ \t]+import\b|import[ \t]+([^#\n;]+))", re.M)
_SUFFIX = re.compile(r"\.(?:py|pyc|so|abi3\.so|cpython-[^.]+\.so)$")
_RELEASE = re.compile(r"(?:\d+!)?\d+(?:\.\d+)*")


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installed distribution. `metadata` is the folder of its metadata, or its one file of an older form."""

    name: str
    version: str
    metadata: Path

    def text(self) -> bytes:
        """Return its core metadata."""
        for path in (self.metadata / "METADATA", self.metadata / "PKG-INFO", self.metadata):
            if path.is_file():
                with open(path, "rb") as file:
                    return file.read(_METADATA_BYTES)
        return b""

    def top_level(self) -> list[str]:
        """Return the names of its files and folders beside its metadata."""
        record = self.metadata / "RECORD"
        if record.is_file():
            status = os.stat(record)
            names = set(_recorded(record, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)))
        else:  # Debian's packages have none
            listed = self.metadata / "top_level.txt"
            names = set(listed.read_text(errors="replace").split()) if listed.is_file() else {self.name}
        return sorted(name for name in names if name not in ("..", "__pycache__") and not name.endswith(_ENDINGS))

    def requirements(self) -> Iterator[tuple[str, frozenset[str], str]]:
        """Yield name, extras asked for, and the extra that the requirement is for ("" for always)."""
        for line in self.text().decode("utf-8", "replace").splitlines():
            if not line:
                return  # the description follows
            if line.startswith("Requires-Dist:") and (found := _REQUIREMENT.match(line, len("Requires-Dist:"))):
                extra = _EXTRA.search(line.partition(";")[2])
                asked = frozenset(normalized(one) for one in (found[2] or "").split(",") if one.strip())
                yield normalized(found[1]), asked, normalized(extra[1]) if extra else ""


@lru_cache(maxsize=4096)
def _recorded(record: Path, state: tuple[int, ...]) -> frozenset[str]:
    """Return the names at the top of a RECORD, once for all processes of a host; `state` is that of the file."""
    with open(record, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return frozenset(row[0].partition("/")[0] for row in csv.reader(file) if row)


def normalized(name: str) -> str:
    """Return a distribution's name as names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def installed(folders: Iterable[Path]) -> dict[str, Distribution]:
    """Return the distributions in these folders by name; the first of a name counts, as for imports."""
    found: dict[str, Distribution] = {}
    for folder in folders:
        try:
            entries = sorted(os.listdir(folder))
        except OSError:
            continue
        for entry in entries:
            stem, ending = os.path.splitext(entry)
            if ending in _ENDINGS and "-" in stem:
                name, _, rest = stem.partition("-")
                version = rest.partition("-py")[0] if ending == ".egg-info" else rest
                found.setdefault(normalized(name), Distribution(normalized(name), version, folder / entry))
    return found


def owners(known: Mapping[str, Distribution]) -> dict[str, Distribution]:
    """Return the distribution that each top-level module belongs to; the first of several, as in a namespace."""
    found: dict[str, Distribution] = {}
    for distribution in known.values():
        for name in distribution.top_level():
            found.setdefault(_SUFFIX.sub("", name), distribution)
    return found


def closure(distributions: Iterable[Distribution], known: Mapping[str, Distribution]) -> list[Distribution]:
    """Return these and what they require of what is installed, with the extras that are asked for."""
    found: dict[str, Distribution] = {}
    waiting = [(distribution, frozenset[str]()) for distribution in distributions]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        distribution, extras = waiting.pop()
        if (distribution.name, extras) in seen:
            continue
        seen.add((distribution.name, extras))
        found[distribution.name] = distribution
        for name, asked, extra in distribution.requirements():
            if name in known and (not extra or extra in extras):
                waiting.append((known[name], asked))
    return [found[name] for name in sorted(found)]


def imported_names(sources: Iterable[Path]) -> set[str]:
    """Return the top-level names in the import statements of these sources, wherever they stand."""
    found: set[str] = set()
    for source in sources:
        with open(source, "rb") as file:
            for match in _IMPORT.finditer(file.read()):
                words = [match[1]] if match[1] else [part.strip().partition(b".")[0] for part in match[2].split(b",")]
                found.update(word.split()[0].decode("ascii", "replace") for word in words if word.split())
    return found


def is_older(new: str, old: str) -> bool:
    """Tell whether a version comes before another: by its numbers, then a pre-release before its release."""
    return _key(new) < _key(old)


def _key(version: str) -> tuple[Sequence[int], bool, Sequence[int]]:
    release = _RELEASE.match(version)
    text = release[0] if release else ""
    numbers = [int(part) for part in re.findall(r"\d+", text)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    rest = version[len(text) :].lower().partition("+")[0]
    is_final = not rest or rest.startswith((".post", "post", "-"))
    return numbers, is_final, [int(part) for part in re.findall(r"\d+", rest)]
