"""Documents of typed values: what an operator declares of each key, and whether values fit. Pure.

A document is flat: keys such as `mqtt.host`. Types have the words of handlers: bool, int, float, str, list[str] and so
on. What fits is said of the whole document at once, so that a change of two keys that belong together is one change.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tlsrt import Length, Pattern, Range
from tlsrt.loops.secondary.linear_pattern import linear_pattern

TEXT_MOST = 4096
ITEMS_MOST = 256
KEYS_MOST = 256
DOCUMENT_BYTES = 64 << 10
KEY = re.compile(r"[a-z0-9_-]{1,64}(\.[a-z0-9_-]{1,64}){0,3}")
Kind = Literal["bool", "int", "float", "str", "list[bool]", "list[int]", "list[float]", "list[str]"]
Scalar = bool | int | float | str
Value = Scalar | list[Scalar]
Key = Annotated[str, Pattern(KEY, "a-z, 0-9, _ and -, up to four words with a dot between, such as mqtt.host")]
Callers = Annotated[tuple[str, ...], Length(64)]
_PYTHON: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
_INTEGER_MOST = 1 << 63


@dataclass(frozen=True, kw_only=True)
class Field:
    """One key of a document. `low` and `high` bound numbers, and how long a text or list is; both are allowed."""

    type: Kind
    doc: Annotated[str, Length(300)] = ""
    default: Value | None = None  # None: none, so the value is null until it is set
    required: bool = False  # a document without it does not fit; it takes no default
    low: float | None = None
    high: float | None = None
    choices: Annotated[tuple[Scalar, ...], Length(64)] = ()
    pattern: Annotated[str, Length(500)] | None = None  # that each text matches whole, in linear time

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.pattern is not None:
            if self._item != "str":
                raise ValueError("a pattern is for str and list[str]")
            linear_pattern(self.pattern)
        for choice in self.choices:
            if why := _why_no_item(self._item, choice):
                raise ValueError(f"choices: {why}")
        if self.required and self.default is not None:
            raise ValueError("what is required has no default: leave one of them out")
        if self.default is not None and (why := self.why_not(self.default)):
            raise ValueError(f"the default: {why}")

    @property
    def _is_list(self) -> bool:
        return self.type.startswith("list[")

    @property
    def _item(self) -> str:
        return self.type.removeprefix("list[").removesuffix("]")

    def why_not(self, value: object) -> str | None:
        """Return why a value does not fit, or None."""
        if not self._is_list:
            return self._why_not_item(value) or self._why_out_of_range(value)
        if not isinstance(value, list):
            return f"expected {self.type}, got {_named(value)}"
        if len(value) > ITEMS_MOST:
            return f"expected at most {ITEMS_MOST} items, got {len(value)}"
        for place, item in enumerate(value):
            if why := self._why_not_item(item):
                return f"[{place}]: {why}"
        return self._why_out_of_range(value)

    def _why_not_item(self, value: object) -> str | None:
        if why := _why_no_item(self._item, value):
            return why
        if self.choices and not any(type(value) is type(choice) and value == choice for choice in self.choices):
            return f"expected one of {', '.join(map(repr, self.choices))}, got {value!r:.60}"
        if self.pattern is not None and isinstance(value, str) and not linear_pattern(self.pattern).fullmatch(value):
            return f"expected a text that matches {self.pattern}, got {value!r:.60}"
        return None

    def _why_out_of_range(self, value: object) -> str | None:
        size: Any = len(value) if isinstance(value, str | list) else value
        if isinstance(value, bool) or not isinstance(size, int | float):
            return None
        what = " characters" if isinstance(value, str) else " items" if isinstance(value, list) else ""
        if self.low is not None and size < self.low:
            return f"expected at least {self.low:g}{what}, got {size}"
        if self.high is not None and size > self.high:
            return f"expected at most {self.high:g}{what}, got {size}"
        return None

    def told(self) -> dict[str, Any]:
        """Return what callers are told of it."""
        return {
            "type": self.type, "doc": self.doc, "default": self.default, "required": self.required, "low": self.low,
            "high": self.high, "choices": list(self.choices), "pattern": self.pattern,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document: its keys, and who may read and write it."""

    fields: dict[str, Field]
    read: Callers = ()
    write: Callers = ()
    kept: Annotated[int, Range(1, 10_000)] = 100  # revisions

    def __post_init__(self) -> None:
        if not 0 < len(self.fields) <= KEYS_MOST:
            raise ValueError(f"fields: name 1 to {KEYS_MOST}")
        for key in self.fields:
            if not KEY.fullmatch(key):
                raise ValueError(f"fields: {key!r} is no key: write a-z, 0-9, _ and -, up to four words with dots")


@dataclass(frozen=True)
class Fit:
    """Values of a document as they are to be used, and those that were set and do not fit, with the reason."""

    values: dict[str, Any]
    ignored: dict[str, str] = field(default_factory=dict)


def problems(document: Document, given: Mapping[str, object]) -> list[str]:
    """Return a sentence for each thing that is wrong with the values that are set; of the whole document."""
    if (size := len(json.dumps(dict(given)).encode())) > DOCUMENT_BYTES:  # before patterns look at all of it
        return [f"the document has {size} bytes and may have {DOCUMENT_BYTES}: make it several"]
    found = []
    for key, value in given.items():
        known = document.fields.get(key)
        if known is None:
            found.append(f"{key}: there is no such key; `schema` lists them")
        elif why := known.why_not(value):
            found.append(f"{key}: {why}")
    found += [f"{key}: is required" for key, one in document.fields.items() if one.required and key not in given]
    return found


def fit(document: Document, given: Mapping[str, object]) -> Fit:
    """Return all values, with defaults for what is not set, or does not fit since the schema has changed."""
    values: dict[str, Any] = {}
    ignored = {key: "there is no such key any more" for key in given if key not in document.fields}
    for key, known in document.fields.items():
        values[key] = known.default
        if key in given:
            why = known.why_not(given[key])
            if why:
                ignored[key] = why
            else:
                values[key] = given[key]
    return Fit(values, ignored)


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> list[dict[str, Any]]:
    """Return the keys whose values differ, sorted, with both values; null stands for one that is not set."""
    return [
        {"key": key, "before": before.get(key), "after": after.get(key)}
        for key in sorted({*before, *after})
        if not _same(before.get(key), after.get(key))
    ]


def _same(one: object, other: object) -> bool:
    return json.dumps(one) == json.dumps(other)  # 1, 1.0 and true are three values


def _why_no_item(kind: str, value: object) -> str | None:
    python = _PYTHON[kind]
    if python is float and type(value) is int:
        python = int
    if type(value) is not python:
        return f"expected {kind}, got {_named(value)}"
    if isinstance(value, float) and not math.isfinite(value):
        return "expected a finite number"
    if isinstance(value, int) and not -_INTEGER_MOST <= value < _INTEGER_MOST:
        return "expected an int of 64 bits"
    if isinstance(value, str) and len(value) > TEXT_MOST:
        return f"expected at most {TEXT_MOST} characters, got {len(value)}"
    return None


def _named(value: object) -> str:
    return "null" if value is None else "map" if isinstance(value, dict) else type(value).__name__
