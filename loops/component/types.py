"""Parameter types at run time: a Shape, its constraints, and the error of a wrong value."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from tlsrt.channels.frames.structure import DEPTH_MAX, StructureError
from tlsrt.text import printable, quoted

Check = Callable[[object], Any]
_NAMES: dict[type, str] = {kind: kind.__name__ for kind in (bool, int, float, str, bytes)} | {
    type(None): "null",
    list: "list",
    tuple: "list",
    dict: "map",
}  # what msgpack and JSON can tell apart
_SHOWN = 40  # characters of a wrong value that an error repeats


class Mismatch(Exception):
    """A value does not fit; `path` grows from the inside out while the exception travels.

    `keys` is the same path as keys and indices, for who knows where each of them stands in a file.
    """

    def __init__(self, reason: str, path: str = "", *, near: bool = False, keys: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.keys = keys
        self.near = near  # the type was right, a limit was not: of the alternatives of a union this one was meant

    def inside(self, step: str, key: object) -> Mismatch:
        self.path = step + self.path
        self.keys = (str(key), *self.keys)
        return self


@dataclasses.dataclass(frozen=True)
class ParameterType:
    """Meaning of an annotation: checker, short text, JSON Schema, whether it holds a dataclass."""

    check: Check
    text: str
    schema: Mapping[str, object]
    structured: bool = False  # a result of this shape must be turned into plain maps before it is sent


@dataclasses.dataclass(frozen=True)
class Range:
    """In Annotated: the number lies between `low` and `high`, both allowed; None leaves a side open."""

    low: float | None = None
    high: float | None = None

    def apply(self, shape: ParameterType) -> ParameterType:
        low, high = self.low, self.high
        inner = shape.check
        text = f"{'' if low is None else low}..{'' if high is None else high}"

        def check(value: object) -> Any:
            number = inner(value)
            if (low is not None and not number >= low) or (high is not None and not number <= high):  # NaN fails too
                raise Mismatch(f"expected a number in {text}", near=True)
            return number

        limits = {"minimum": low, "maximum": high}
        schema = {**shape.schema, **{key: limit for key, limit in limits.items() if limit is not None}}
        return ParameterType(check, f"{shape.text} in {text}", schema)


@dataclasses.dataclass(frozen=True)
class Length:
    """In Annotated: at most `high` (and at least `low`) characters, bytes or items."""

    high: int
    low: int = 0

    def apply(self, shape: ParameterType) -> ParameterType:
        low, high, inner = self.low, self.high, shape.check
        words = {"string": ("minLength", "maxLength"), "object": ("minProperties", "maxProperties")}
        least, most = words.get(str(shape.schema.get("type")), ("minItems", "maxItems"))

        def check(value: object) -> Any:
            sized = inner(value)
            if not low <= len(sized) <= high:
                raise Mismatch(f"expected a length of {low} to {high}, got {len(sized)}", near=True)
            return sized

        text = f"{shape.text} of length {low}..{high}"
        return ParameterType(check, text, {**shape.schema, least: low, most: high}, shape.structured)


@dataclasses.dataclass(frozen=True)
class Pattern:
    """In Annotated: all of the text matches; `expected` says in words what that is."""

    expression: re.Pattern[str]
    expected: str

    def apply(self, shape: ParameterType) -> ParameterType:
        inner, matches = shape.check, self.expression.fullmatch

        def check(value: object) -> Any:
            text = inner(value)
            if matches(text) is None:
                raise Mismatch(f"expected {self.expected}", near=True)
            return text

        schema = {**shape.schema, "pattern": anchored(self.expression)}
        return ParameterType(check, shape.text, schema, shape.structured)


def anchored(expression: re.Pattern[str]) -> str:
    """Return an expression that has to match all of a text as JSON Schema writes it, where it may match any part."""
    return f"^(?:{expression.pattern})$"


def type_name(value: object) -> str:
    """Return the wire's name for the type of `value`, for error texts."""
    return _NAMES.get(type(value), type(value).__name__)


def shown(value: object) -> str:
    """Return a short form of a wrong value that is safe in one line of an error."""
    if isinstance(value, str):
        return quoted(value, _SHOWN)
    return printable(repr(value) if isinstance(value, (int, bytes, float, type(None))) else type_name(value), _SHOWN)


def to_plain(value: object, depth: int = DEPTH_MAX) -> object:
    """Turn the frozen dataclasses in a result into maps, as deep as lists, tuples and maps go.

    Raise StructureError for what is nested too deeply to be sent, or holds itself.
    """
    if isinstance(value, (list, tuple)):
        depth = _deeper(depth)
        return [to_plain(item, depth) for item in value]
    if isinstance(value, dict):
        depth = _deeper(depth)
        return {key: to_plain(item, depth) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        depth = _deeper(depth)
        return {field.name: to_plain(getattr(value, field.name), depth) for field in dataclasses.fields(value)}
    return value


def _deeper(depth: int) -> int:
    if depth == 0:
        raise StructureError(f"it is nested more than {DEPTH_MAX} deep")
    return depth - 1


def to_json(value: object) -> object:
    """Return a default value as JSON can show it: bytes as base64, dataclasses as maps."""
    plain = to_plain(value)
    if isinstance(plain, bytes):
        return base64.b64encode(plain).decode("ascii")
    if isinstance(plain, list):
        return [to_json(item) for item in plain]
    if isinstance(plain, dict):
        return {key: to_json(item) for key, item in plain.items()}
    return plain
