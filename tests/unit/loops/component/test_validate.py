"""The validator: what it takes, what it says, what it describes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict, Union

import pytest

from tlsrt.errors import MisuseError
from tlsrt.loops.component.types import Mismatch, to_json, to_plain
from tlsrt.loops.component.validate import Length, Pattern, Range, compile_shape


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0

    def __post_init__(self) -> None:
        if self.x == self.y:
            raise ValueError("x and y must differ")


@dataclass(frozen=True)
class Path:
    points: tuple[Point, ...]
    name: str = field(default="", kw_only=True)


@dataclass
class Thawed:
    x: int


@dataclass(frozen=True)
class Endless:
    inner: Optional[Endless]  # noqa: UP045


class Sample(TypedDict):
    value: float
    unit: NotRequired[str]


class NotOurs:
    pass


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (None, None, None),
        (bool, True, True),
        (int, -5, -5),
        (float, 3, 3.0),
        (float, 2.5, 2.5),
        (str, "ä", "ä"),
        (bytes, b"\0", b"\0"),
        (Any, {1: [object]}, {1: [object]}),
        (object, 5, 5),
        (list, [1, "a"], [1, "a"]),
        (list[int], (1, 2), [1, 2]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [], ()),
        (dict, {"a": 1}, {"a": 1}),
        (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
        (Literal["a", 1, None], 1, 1),
        (Optional[int], None, None),  # noqa: UP045
        (Union[int, str], "x", "x"),  # noqa: UP007
        (int | list[str], ["x"], ["x"]),
        (Annotated[int, Range(1, 3)], 3, 3),
        (Annotated[str, Length(3)], "abc", "abc"),
        (Annotated[str, Pattern(re.compile("a|b"), "a or b")], "b", "b"),
        (Annotated[list[int], Length(2, 1)], [1], [1]),
        (Annotated[int, "a note for people"], 7, 7),
        (Point, {"x": 1}, Point(1)),
        (Path, {"points": [{"x": 1}], "name": "n"}, Path((Point(1),), name="n")),
        (Sample, {"value": 1}, {"value": 1.0}),
    ],
)
def test_accepts(annotation: Any, value: object, expected: object) -> None:
    found = compile_shape(annotation).check(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (None, 0, ": expected null, got int"),
        (bool, 1, ": expected bool, got int"),
        (int, True, ": expected int, got bool"),
        (int, 1.0, ": expected int, got float"),
        (float, True, ": expected float, got bool"),
        (float, 10**400, ": expected float, got an int too large for one"),
        (str, b"x", ": expected str, got bytes"),
        (str, None, ": expected str, got null"),
        (bytes, "x", ": expected bytes, got str"),
        (bytes, bytearray(b"x"), ": expected bytes, got bytearray"),
        (list[str], "abc", ": expected list, got str"),
        (list[str], {"a": 1}, ": expected list, got map"),
        (list[list[str]], [["a"], ["b", 2]], "[1][1]: expected str, got int"),
        (tuple[int, str], [1], ": expected 2 items, got 1"),
        (tuple[int, str], [1, 2], "[1]: expected str, got int"),
        (dict[str, int], {1: 1}, ": expected keys of type str, got int"),
        (dict[str, int], {"a": "b"}, "['a']: expected int, got str"),
        (dict[str, int], [1], ": expected map, got list"),
        (Literal["a", "b"], "c", ": expected 'a' | 'b', got 'c'"),
        (Literal[1], True, ": expected 1, got True"),
        (Literal["a"], ["a"], ": expected 'a', got list"),
        (Literal["a"], "x" * 1000, ": expected 'a', got '" + "x" * 39 + "…'"),
        (str | None, 5, ": expected str | null, got int"),
        (Annotated[int, Range(1, 3)] | None, 4, ": expected a number in 1..3"),
        (list[str] | int, ["a", 1], "[1]: expected str, got int"),
        (Annotated[int, Range(1, 3)], 0, ": expected a number in 1..3"),
        (Annotated[float, Range(0)], float("nan"), ": expected a number in 0.."),
        (Annotated[str, Length(3)], "abcd", ": expected a length of 0 to 3, got 4"),
        (Annotated[str, Pattern(re.compile("a|b"), "a or b")], "ab", ": expected a or b"),
        (Point, {"y": 1}, ".x: missing"),
        (Point, {"x": 1, "z": 1}, ".z: unknown field"),
        (Point, {"x": 1, "a\nb": 1}, ".'a\\nb': unknown field"),
        (Point, {"x": "1"}, ".x: expected int, got str"),
        (Point, {"x": 1, "y": 1}, ": x and y must differ"),
        (Point, [1], ": expected map, got list"),
        (Path, {"points": [{"x": 1}, {"x": None}]}, ".points[1].x: expected int, got null"),
        (Sample, {"value": 1, "unit": 2}, ".unit: expected str, got int"),
        (Sample, {}, ".value: missing"),
    ],
)
def test_refuses_and_says_where(annotation: Any, value: object, message: str) -> None:
    with pytest.raises(Mismatch) as caught:
        compile_shape(annotation).check(value)
    assert f"{caught.value.path}: {caught.value.reason}" == message


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (set[str], "unsupported type set"),
        (NotOurs, "unsupported type NotOurs"),
        (dict[int, str], "keys on the wire are str"),
        (Thawed, "Thawed must be frozen"),
        (Endless, "Endless holds itself"),
        (Literal[b"x"], "Literal may hold"),
        (Annotated[str, Range(1)], "Range belongs on"),
        (Annotated[int, Length(1)], "Length belongs on"),
        (Annotated[bytes, Pattern(re.compile("a"), "an a")], "Pattern belongs on str"),
        (5, "unsupported type 5"),
        ([], "is not a type"),
    ],
)
def test_refuses_types_that_the_wire_cannot_carry(annotation: Any, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        compile_shape(annotation)


@pytest.mark.parametrize(
    ("annotation", "text", "schema"),
    [
        (list[str], "list[str]", {"type": "array", "items": {"type": "string"}}),
        (str | None, "str | null", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (Any, "any", {}),
        (Annotated[int, Range(1, 9)], "int in 1..9", {"type": "integer", "minimum": 1, "maximum": 9}),
        (Annotated[str, Length(9)], "str of length 0..9", {"type": "string", "minLength": 0, "maxLength": 9}),
        (Literal["a", "b"], "'a' | 'b'", {"enum": ["a", "b"]}),
        (
            Point,
            "Point",
            {
                "type": "object",
                "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
                "required": ["x"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_describes_itself(annotation: Any, text: str, schema: dict[str, object]) -> None:
    shape = compile_shape(annotation)
    assert (shape.text, shape.schema) == (text, schema)
    json.dumps(shape.schema)


def test_results_become_plain() -> None:
    assert to_plain([{"p": Point(1)}, (Point(2),)]) == [{"p": {"x": 1, "y": 0}}, [{"x": 2, "y": 0}]]
    assert to_json({"b": b"\xff", "p": [Point(1)]}) == {"b": "/w==", "p": [{"x": 1, "y": 0}]}
