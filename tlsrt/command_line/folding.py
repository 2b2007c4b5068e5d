"""Sentences that fit a terminal: a line that is wider goes on below, indented.

What is to be copied stays in one piece: a command, a path, what stands between backquotes. Such a piece may be wider
than the terminal, which breaks it itself and still copies it as one. A pipe and a file get every line as it is.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

NARROWEST = 40  # a terminal that says less is not believed
_COMMAND = re.compile(r"( *(?:next|run): )(\S.*)")
_PIECE = re.compile(r"( *)((?:[^\s`]|`[^`]*`|`)+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_INDENT = "  "


def folded(line: str, width: int) -> str:
    """Return a line without its end as lines of at most `width` columns, as far as its pieces are not wider."""
    if _columns(line) <= width:
        return line
    margin = line[: len(line) - len(line.lstrip(" "))]
    if command := _COMMAND.fullmatch(line):
        return f"{command[1].rstrip()}\n{margin}{_INDENT}{command[2]}"
    lines, present = list[str](), ""
    for gap, piece in _PIECE.findall(line):
        if present.strip() and _columns(present) + len(gap) + _columns(piece) > width:
            lines.append(present)
            present = f"{margin}{_INDENT}{piece}"
        else:
            present += gap + piece
    return "\n".join([*lines, present])


def _columns(text: str) -> int:
    return len(_COLOUR.sub("", text)) if "\x1b" in text else len(text)


def columns_of(stream: TextIO) -> int | None:
    """Return the columns of a terminal, None for what is none."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return None
    return max(NARROWEST, columns) if columns else None


class FoldedStream:
    """A text stream of a terminal whose lines are folded; each `write` has whole lines, but for their ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        width = columns_of(self._stream)
        if width is not None:
            text = "\n".join(folded(line, width) for line in text.split("\n"))
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def folded_output(*, has_answer: bool) -> Iterator[None]:
    """Fold what is printed meanwhile: errors, and with `has_answer` the answer too."""
    before = sys.stdout, sys.stderr
    if has_answer and columns_of(before[0]) is not None:
        sys.stdout = FoldedStream(before[0])
    if columns_of(before[1]) is not None:
        sys.stderr = FoldedStream(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
