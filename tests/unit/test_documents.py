"""The documents name tests and files that exist: a text that nothing checks goes stale."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LINK = re.compile(r"\]\((?!http)([^)#]+)\)")


def test_every_invariant_names_a_test_that_exists() -> None:
    named = TEST.findall((ROOT / "ARCHITECTURE.md").read_text())
    assert len(named) > 15
    for file, name in named:
        assert re.search(rf"^ *(async )?def {name}\(", (ROOT / file).read_text(), re.M), f"{file}::{name} is gone"


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "PROTOCOL.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document: str) -> None:
    for target in LINK.findall((ROOT / document).read_text()):
        assert (ROOT / target).exists(), f"{document} links to {target}"


def test_the_readme_begins_with_the_two_commands() -> None:
    first = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert first is not None
    assert [line.split("#")[0].strip() for line in first[1].strip().splitlines()] == ["make start", "make test"]


def test_make_targets_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for document in ("README.md", "ARCHITECTURE.md"):
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / document).read_text(), re.M):
            assert target in targets, f"{document} names make {target}"
