"""The page of findings names tests that exist, and each row says something of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tools.documents import ROOT

PAGE = ROOT / "tests" / "findings.md"
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


class Finding(NamedTuple):
    """One row: what happened, what holds now, and the cell with its tests."""

    found: str
    holds: str
    tests: str


def findings() -> Iterator[Finding]:
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| found |"):
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            assert len(cells) == 3, f"three cells, separated by ' | ': {line}"
            yield Finding(*cells)


def test_every_finding_names_tests_that_exist() -> None:
    for one in findings():
        tests = TEST.findall(one.tests)
        assert tests, f"name the test that holds it as `folder/file.py::name`: {one.found}"
        for file, name in tests:
            path = ROOT / "tests" / file
            text = path.read_text() if path.exists() else ""
            assert re.search(rf"^ *(async )?def {name}\(", text, re.M), f"{file}::{name} does not exist: {one.found}"


def test_no_finding_is_named_twice() -> None:
    found = [one.found for one in findings()]
    assert len(found) == len(set(found))
    assert all(one.found.endswith(".") and one.holds.endswith(".") for one in findings()), "whole sentences"
