"""A text as passages that are found and shown alone: its paragraphs, the long ones divided at sentences. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MOST = 400  # characters of a passage: about 100 tokens, of 256 that the models read
LEAST = 120  # before which no sentence ends a passage
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_ENDS = (re.compile(r"[.!?]\s"), re.compile(r"\n"), re.compile(r"\s"))


class Passage(NamedTuple):
    """A part of a text, and at which of its characters it begins."""

    start: int
    text: str


def passages(text: str) -> list[Passage]:
    """Divide a text; nothing but white space is left out."""
    found, at = [], 0
    for end in _ends(text):
        part = text[at:end]
        if words := part.strip():
            found.append(Passage(at + len(part) - len(part.lstrip()), words))
        at = end
    return found


def _ends(text: str) -> Iterator[int]:
    at = 0
    for paragraph in (*(one.end() for one in _PARAGRAPH.finditer(text)), len(text)):
        while paragraph - at > MOST:
            at = _end(text, at)
            yield at
        at = paragraph
        yield at


def _end(text: str, at: int) -> int:
    for pattern in _ENDS:
        ends = [one.end() for one in pattern.finditer(text, at + LEAST, at + MOST)]
        if ends:
            return ends[-1]
    return at + MOST
