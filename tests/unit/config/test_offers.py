"""Offers of a program: which types may be written, and what is refused in words."""

from __future__ import annotations

import pickle
from typing import Any, Literal

import pytest

from tlsrt.config.offers import parse_argument, parse_type
from tlsrt.loops.component.validate import compile_shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("null", "null"),
        ("int", "int"),
        ("any", "any"),
        ("list[dict[str, float | null]]", "list[dict[str, float | null]]"),
        ("'quick' | 'gentle'", "'quick' | 'gentle'"),
        ("str | list[str]", "str | list[str]"),
    ],
)
def test_a_type_is_one_of_the_wire(text: str, shape: str) -> None:
    assert compile_shape(parse_type(text).annotation).text == shape


@pytest.mark.parametrize(
    ("text", "default"),
    [("int = 3", 3), ("float = 1", 1), ("bool = true", True), ("str | null = null", None), ("'a' | 'b' = 'b'", "b")],
)
def test_an_argument_may_have_a_default_of_its_type(text: str, default: object) -> None:
    found = parse_argument(text)
    assert found.has_default
    assert found.default == default
    assert not parse_argument("int").has_default


@pytest.mark.parametrize(
    "text",
    [
        "", "bytes", "set[int]", "dict[int, str]", "list", "list[int", "1", "__import__('os')", "int()", "a.b",
        "list[" * 9 + "int" + "]" * 9, "int |" * 300 + "int", "(" * 200,
        "int = 'x'", "int = true", "int = [1]", "str = x", "'a' = 'b'", "int =",
    ],
)  # fmt: skip
def test_what_is_no_type_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"no type|default"):
        parse_argument(text)


def test_an_argument_without_a_default_has_none_in_the_process_that_gets_it_pickled() -> None:
    assert not pickle.loads(pickle.dumps(parse_argument("list[str]"))).has_default
    assert pickle.loads(pickle.dumps(parse_argument("int | null = null"))).has_default


def test_equal_texts_are_equal_types() -> None:
    assert parse_type("int | null") == parse_type("int | null")
    assert parse_type("'x'").annotation == Literal["x"]
    assert parse_type("any").annotation is Any
