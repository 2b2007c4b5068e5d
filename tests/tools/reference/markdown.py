"""Tables and cells of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import fill


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a pipe in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(text) for text in line) + " |" for line in lines)


def paragraph(text: str) -> str:
    """Return a text in lines of at most 118 columns; a word is never broken."""
    return fill(text, 118, break_long_words=False, break_on_hyphens=False)


def cell(text: str) -> str:
    """Return a text in one line, fit for a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Return a text as code; nothing for an empty one."""
    return f"`{text}`" if str(text) else ""
