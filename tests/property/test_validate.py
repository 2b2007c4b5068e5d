"""Whatever the wire brings, a call is bound or refused with InvalidArgument that names the parameter."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import InvalidArgument
from tlsrt.loops.component.component import Component, handler
from tlsrt.loops.component.types import Mismatch, ParameterType, to_plain
from tlsrt.loops.component.validate import Length, Range, compile_shape


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0

    def __post_init__(self) -> None:
        if self.x > 1000:
            raise ValueError("too far away")


SCALARS: list[Any] = [None, bool, int, float, str, bytes, Any, Literal["a", 1, True, None], Point]
SCALARS += [Annotated[int, Range(-5, 5)], Annotated[float, Range(0)], Annotated[str, Length(3)]]


def made(origin: Any, *arguments: Any) -> Any:
    """A generic type over types that are known only at run time."""
    return origin[arguments if len(arguments) > 1 else arguments[0]]


hints = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        inner.map(lambda item: made(list, item)),
        inner.map(lambda item: made(dict, str, item)),
        inner.map(lambda item: made(tuple, item, ...)),
        st.tuples(inner, inner).map(lambda pair: made(tuple, *pair)),
        st.tuples(inner, inner).map(lambda pair: made(Union, *pair)),
    ),
    max_leaves=5,
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=5), st.binary(max_size=5)
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=3), st.sampled_from(["x", "y"]), st.integers(0, 9)), inner, max_size=3
        ),
    ),
    max_leaves=8,
)


class Target(Component):
    """A method of every kind of parameter."""

    @handler
    async def go(
        self,
        text: str,
        tags: list[str] = [],  # noqa: B006
        *,
        ratio: Annotated[float, Range(0, 1)] | None = None,
        point: Point | Literal["origin"] = "origin",
        extra: dict[str, tuple[int, bytes] | list[Point]] = {},  # noqa: B006
    ) -> None: ...


SPEC = Target.__tlsrt_methods__["go"]
NAMES = tuple(parameter.name for parameter in SPEC.parameters)


@given(
    st.lists(values, max_size=4), st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(), st.integers()), values)
)
def test_binding_ends_in_arguments_or_in_invalid_argument(args: list[object], kwargs: dict[Any, object]) -> None:
    bound, refusal = bind(args, kwargs)
    if refusal is not None:
        known = (*NAMES, "missing parameter: ", "unknown parameter: ", "too many arguments: ")
        assert refusal.startswith(known)
        assert "\n" not in refusal
        assert len(refusal) < 400
    else:
        assert set(bound) == set(NAMES)
        assert type(bound["text"]) is str
        assert all(type(tag) is str for tag in bound["tags"])


def bind(args: list[object], kwargs: dict[Any, object]) -> tuple[dict[str, Any], str | None]:
    try:
        return SPEC.bind(args, kwargs), None
    except InvalidArgument as error:
        return {}, error.message


@given(hints, values)
def test_a_value_fits_or_is_a_mismatch(annotation: Any, value: object) -> None:
    shape = compile_shape(annotation)
    try:
        checked = shape.check(value)
    except Mismatch:
        return
    plain = to_plain(checked)
    assert equal(plain, to_plain(shape.check(plain))), "a checked value stays as it is"


@given(hints)
def test_every_shape_has_a_schema_in_json(annotation: Any) -> None:
    shape: ParameterType = compile_shape(annotation)
    assert shape.text
    json.dumps(shape.schema)


@given(values)
def test_any_takes_every_value_of_the_wire_unchanged(value: object) -> None:
    wire = msgpack.packb(value, use_bin_type=True)
    again = compile_shape(Any).check(msgpack.unpackb(wire, raw=False, strict_map_key=False))
    assert msgpack.packb(again, use_bin_type=True) == wire


def equal(left: object, right: object) -> bool:
    """Equality in which NaN equals itself."""
    return repr(left) == repr(right)
