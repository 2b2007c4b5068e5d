"""What tlsrt promises and the tests that hold it, from tests/invariants.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from tools.reference.markdown import cell, table

FILE = Path(__file__).resolve().parents[2] / "invariants.yaml"


class Invariant(NamedTuple):
    """One promise."""

    subject: str
    promise: str
    tests: tuple[str, ...]


def invariants() -> Iterator[Invariant]:
    """Yield every promise of the file."""
    tree: dict[str, list[dict[str, object]]] = yaml.safe_load(FILE.read_text())
    for subject, entries in tree.items():
        for entry in entries:
            tests = entry["tests"]
            assert isinstance(tests, list) and tests and set(entry) == {"promise", "tests"}, entry
            yield Invariant(subject, str(entry["promise"]), tuple(map(str, tests)))


def body() -> str:
    by_subject: dict[str, list[Invariant]] = {}
    for one in invariants():
        by_subject.setdefault(one.subject, []).append(one)
    parts = []
    for subject, found in by_subject.items():
        rows = [
            (cell(one.promise), "<br>".join(f"`{test.removeprefix('tests/')}`" for test in one.tests)) for one in found
        ]
        parts.append(f"## {subject[0].upper()}{subject[1:]}\n\n{table(('promise', 'tests (below `tests/`)'), rows)}")
    return "\n\n".join(parts)


def _tests(one: Invariant) -> str:
    return "<br>".join(f"`{test.removeprefix('tests/')}`" for test in one.tests)
