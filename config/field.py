"""One value of a configuration file: its kind, its bounds, and a sentence for people; and the usual kinds of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "integer", "number", "boolean", "path", "list", "map", "table", "free"]

NAME = "[a-z][a-z0-9_]{0,30}"
NAME_SAYS = "a name of a-z, 0-9 and _, starting with a letter, at most 31 characters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value: `least` and `most` bound a number, the length of a text, or the count of a list or map."""

    kind: Kind
    about: str
    required: bool = False
    absent: str = ""  # what to say instead when it is missing or null
    nullable: bool = False
    default: object = None
    least: float | None = None
    most: float | None = None
    pattern: str = ""  # of a text, or of the keys of a map
    says: str = ""  # the pattern in words
    parse: Callable[[str], object] | None = None  # of a text: raises ValueError with a sentence for what it cannot be
    choices: tuple[str | int, ...] = ()
    word: str = ""  # a list may be this one word instead
    item: Field | None = None  # of a list or map
    fields: Mapping[str, Field] = field(default_factory=dict[str, "Field"])  # of a table
    switch: str = ""  # a table's text field whose value decides which of `needs` goes with it
    needs: Mapping[str, str] = field(default_factory=dict[str, str])


def defaults_of(kind: type[Any]) -> dict[str, Any]:
    """Return the defaults of a dataclass of `schema.py`, by the names of its fields."""
    return {one.name: one.default for one in dataclasses.fields(kind)}


def path(about: str, *, required: bool = False, default: str | None = None) -> Field:
    return Field(kind="path", about=about, required=required, default=default, least=1, most=1024)


def count(about: str, default: object, least: int, most: int) -> Field:
    return Field(kind="integer", about=about, default=default, least=least, most=most)


def seconds(about: str, default: object, least: float, most: float) -> Field:
    return Field(kind="number", about=about, default=default, least=least, most=most)
