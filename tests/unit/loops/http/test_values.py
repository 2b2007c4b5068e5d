"""JSON to arguments and back."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import InvalidArgument
from tlsrt.loops.http.values import arguments_untrusted, encode_value

BYTES = {"type": "string", "contentEncoding": "base64"}
TEXT = {"type": "string"}


def method(**schemas: Any) -> dict[str, Any]:
    return {"parameters": [{"name": name, "schema": schema, "required": True} for name, schema in schemas.items()]}


def test_by_name_by_position_and_none() -> None:
    described = method(key=TEXT, value={})
    assert arguments_untrusted(b'{"value": [1, 2.5, null], "key": "k"}', described) == (
        [],
        {"value": [1, 2.5, None], "key": "k"},
    )
    assert arguments_untrusted(b'["k", true]', described) == (["k", True], {})
    assert arguments_untrusted(b" \n", described) == ([], {})


def test_bytes_are_base64_wherever_the_schema_says_so() -> None:
    described = method(
        one=BYTES, many={"type": "array", "items": BYTES}, named={"type": "object", "properties": {"raw": BYTES}},
        table={"type": "object", "additionalProperties": BYTES}, perhaps={"anyOf": [BYTES, {"type": "null"}]},
        either={"anyOf": [BYTES, TEXT]}, pair={"type": "array", "prefixItems": [TEXT, BYTES]},
    )  # fmt: skip
    body = {
        "one": "AAE=", "many": ["", "/w=="], "named": {"raw": "AA==", "x": "AA=="}, "table": {"k": "AQ=="},
        "perhaps": "AA==", "either": "AA==", "pair": ["AA==", "AA=="],
    }  # fmt: skip
    assert arguments_untrusted(json.dumps(body).encode(), described)[1] == {
        "one": b"\0\1", "many": [b"", b"\xff"], "named": {"raw": b"\0", "x": "AA=="}, "table": {"k": b"\1"},
        "perhaps": b"\0", "either": "AA==", "pair": ["AA==", b"\0"],
    }  # fmt: skip
    assert arguments_untrusted(b'{"perhaps": null}', described)[1] == {"perhaps": None}


INTEGER, NUMBER = {"type": "integer", "minimum": 0}, {"type": "number"}


def test_a_number_without_a_fraction_is_an_integer_where_one_is_wanted() -> None:
    described = method(
        one=INTEGER, many={"type": "array", "items": INTEGER}, perhaps={"anyOf": [{"type": "null"}, INTEGER]},
        table={"type": "object", "additionalProperties": INTEGER}, number=NUMBER, either={"anyOf": [INTEGER, NUMBER]},
        any={}, raw=BYTES,
    )  # fmt: skip
    body = (
        b'{"one": 200.0, "many": [1, 2e2, -3.00], "perhaps": 4.0, "table": {"k": 1E1}, "number": 5.0, "either": 6.0, '
        b'"any": 7.0, "raw": "AA=="}'
    )
    given = arguments_untrusted(body, described)[1]
    assert given == {
        "one": 200, "many": [1, 200, -3], "perhaps": 4, "table": {"k": 10}, "number": 5.0, "either": 6.0, "any": 7.0,
        "raw": b"\0",
    }  # fmt: skip
    assert type(given["one"]) is int and [type(one) for one in given["many"]] == [int] * 3
    assert [type(given[name]) for name in ("number", "either", "any")] == [float] * 3
    for text in (b"200.5", b"1e300", b'"200.0"', b"true"):
        assert type(arguments_untrusted(b"[%s]" % text, described)[0][0]) is not int, "the recipient refuses it"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[NaN]", "NaN is not JSON"),
        (b'{"key": 1, "key": 2}', "twice"),
        (b"[" * 100_000, "more than 8192"),
        (b"[" * 40 + b"]" * 40, "nested more than 31 deep"),
        (b"[1e400]", "1e400 is too large for a number"),
        (b"[-1E+999]", "too large for a number"),
        (b"[" + b"9" * 400 + b".5]", "too large for a number"),
        (b'["\\ud800", 7]', "takes 1"),
        (b"7", "object"),
        (b'{"other": 1}', "no parameter 'other'; the method has: key"),
        (b'["a", "b"]', "takes 1"),
        (b'{"key": "?"}', "key: not base64"),
        (b'{"key": 5}', "key: expected base64"),
    ],
)
def test_what_is_no_argument_is_said_by_name(body: bytes, says: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        arguments_untrusted(body, method(key=BYTES))
    assert says in refused.value.message


def test_results_hold_what_json_can() -> None:
    value = {"raw": b"\0\1", 7: [float("nan"), float("inf"), 1.5], "text": "ü\ud800"}
    assert json.loads(encode_value(value)) == {"raw": "AAE=", "7": [None, None, 1.5], "text": "ü?"}


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: json.dumps(text).encode()))
def test_any_body_gives_arguments_or_the_one_error(body: bytes) -> None:
    try:
        arguments_untrusted(body, method(key=BYTES, value={}))
    except InvalidArgument:
        return


def test_what_holds_no_bytes_is_passed_on_as_it_was_read() -> None:
    """Looking at every part of 256 KiB took 84 ms of the event loop that serves everybody."""
    described = method(value={}, table={"type": "object", "properties": {"raw": BYTES}})
    body = {"value": {"raw": "AA==", "deep": [[["AA=="]]]}, "table": {"raw": "AA=="}}
    assert arguments_untrusted(json.dumps(body).encode(), described)[1] == {
        "value": {"raw": "AA==", "deep": [[["AA=="]]]}, "table": {"raw": b"\0"},
    }  # fmt: skip


HUGE = 256 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 40 + b'"' + b'\\"' * (HUGE // 2),
        b"[" * 40 + b'"' * HUGE,
        b"[" * 40 + b'"\\' * (HUGE // 2),
        b"[" * HUGE,
        b"[" * 2000,
        b'{"a":' * (HUGE // 5),
        b"[" * 40 + b"1.0" + b"0" * HUGE + b"1",
        b"[" * 40 + b"1." * (HUGE // 2),
        b"]" * HUGE + b"[" * 2000,
    ],
    ids=range(9),
)
def test_no_body_takes_long_and_each_is_answered(body: bytes) -> None:
    """Each was measured in minutes or ended the connection; the bound is wide, as other tests run beside."""
    before = time.process_time()
    with pytest.raises(InvalidArgument):
        arguments_untrusted(body, method(value={}))
    assert time.process_time() - before < 1
