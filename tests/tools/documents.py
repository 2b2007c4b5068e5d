"""The hand-written documents as data: their files, prose, fenced blocks, commands and links."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tools.reference.pages import PAGES, path_of

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("tlsrt", "tlsrt-supervisor")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *```(\w*)$")


class Block(NamedTuple):
    """A fenced block of a document."""

    document: Path
    line: int
    language: str
    text: str


class Line(NamedTuple):
    """A line outside of fenced blocks."""

    number: int
    text: str


def documents() -> list[Path]:
    """Return every document that is written by hand, and every generated one."""
    folders = ("", "bench", "examples/*", "tests")
    found = {path for folder in folders for path in ROOT.glob(f"{folder}/*.md" if folder else "*.md")}
    return sorted(found | set((ROOT / "docs").rglob("*.md")))


def written() -> list[Path]:
    """Return the documents that are written by hand."""
    generated = {path_of(name) for name in PAGES}
    return [path for path in documents() if path not in generated]


@cache
def _split(path: Path) -> tuple[tuple[Line, ...], tuple[Block, ...]]:
    lines: list[Line] = []
    blocks: list[Block] = []
    inside: list[str] | None = None
    language, start = "", 0
    for number, text in enumerate(path.read_text().splitlines(), 1):
        fence = _FENCE.match(text)
        if fence and inside is None:
            inside, language, start = [], fence[1], number
        elif fence and inside is not None:
            blocks.append(Block(path, start, language, "".join(f"{line}\n" for line in inside)))
            inside = None
        elif inside is not None:
            inside.append(text)
        else:
            lines.append(Line(number, text))
    assert inside is None, f"{path}:{start}: this block does not end"
    return tuple(lines), tuple(blocks)


def prose(path: Path) -> tuple[Line, ...]:
    """Return the lines of a document that are in no fenced block."""
    return _split(path)[0]


def blocks(path: Path, *languages: str) -> list[Block]:
    """Return the fenced blocks of a document in these languages."""
    return [block for block in _split(path)[1] if block.language in languages]


def commands(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield every call of our two commands with its line: in `sh` blocks, or after `$` in `console` blocks."""
    for block in blocks(path, "sh", "console"):
        for offset, line in enumerate(block.text.splitlines(), 1):
            if block.language == "console":
                if not line.startswith("$ "):
                    continue
                line = line[2:]
            words = shlex.split(re.split(r" (?:\|\||&&|>|<|\||;) ?", line)[0], comments=True)
            if words and words[0] in PROGRAMS:
                yield block.line + offset, words


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and MkDocs make them."""
    return {_slug(line.text.lstrip("# ")) for line in prose(path) if line.text.startswith("#")}


def _slug(heading: str) -> str:
    plain = unicodedata.normalize("NFKD", re.sub(r"[`*]", "", heading)).lower()
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain)).strip("-")
