"""Entries of the journal as its gateway writes them: all forms of values, and lines that lie."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.secondary.journal_entries import read_line_untrusted
from tlsrt.loops.secondary.log_query import TEXT_MOST

GOOD = {
    "__CURSOR": "s=aa;i=1;b=bb;m=2;t=3;x=4", "__REALTIME_TIMESTAMP": "1796155200123456", "PRIORITY": "4",
    "MESSAGE": "hot", "SYSLOG_IDENTIFIER": "kettle", "_SYSTEMD_UNIT": "kettle.service",
}  # fmt: skip


def read(**fields: Any) -> Any:
    found = read_line_untrusted(json.dumps(GOOD | fields).encode()).found
    return None if found is None else found.entry


def test_an_entry_is_what_it_says() -> None:
    found = read_line_untrusted(json.dumps(GOOD).encode()).found
    assert found is not None and found.at_us == 1796155200123456 and found.cursor == GOOD["__CURSOR"]
    assert found.entry == {
        "at_ms": 1796155200123, "source": "journal", "unit": "kettle.service", "component": "kettle", "priority": 4,
        "text": "hot", "is_cut": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("message", "text", "is_cut"),
    [
        ([104, 255, 27, 91], "h\ufffd\\x1b[", False), (None, "(too long for the gateway)", True),
        (["one", [116, 119, 111]], "one; two", False), ("a" * 5000, "a" * TEXT_MOST, True), ({"a": 1}, "", False),
        ([300], "", False),
    ],
)  # fmt: skip
def test_each_form_of_a_value_is_text(message: object, text: str, is_cut: bool) -> None:
    entry = read(MESSAGE=message)
    assert (entry["text"], entry["is_cut"]) == (text, is_cut)


@pytest.mark.parametrize("depth", [900, 3000])
def test_a_value_that_is_nested_deeper_than_the_journal_s_has_no_text(depth: int) -> None:
    nested = "[" * depth + '"x"' + "]" * depth
    line = json.dumps(GOOD)[:-1] + f', "MESSAGE": {nested}, "_COMM": {nested}, "PRIORITY": {nested}}}'
    said = read_line_untrusted(line.encode())
    assert said.why == "a line is no JSON" or (said.found is not None and said.found.entry["text"] == "")


@pytest.mark.parametrize(
    ("fields", "key"), [({"PRIORITY": "9"}, "priority"), ({"PRIORITY": 3}, "priority"), ({"_SYSTEMD_UNIT": 5}, "unit")]
)
def test_what_is_not_said_is_null(fields: dict[str, Any], key: str) -> None:
    assert read(**fields)[key] is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"__CURSOR": "s=1\r\nHost: x"}, "no cursor"), ({"__CURSOR": 5}, "no cursor"),
        ({"__REALTIME_TIMESTAMP": "x"}, "no time"), ({"__REALTIME_TIMESTAMP": "9" * 30}, "no time"),
        ({"__REALTIME_TIMESTAMP": None}, "no time"),
    ],
)  # fmt: skip
def test_an_entry_without_a_place_is_none(fields: dict[str, Any], why: str) -> None:
    line = read_line_untrusted(json.dumps(GOOD | fields).encode())
    assert line.found is None and why in line.why


@given(st.binary(max_size=200) | st.just(b"[" * 100_000))
def test_any_bytes_are_an_entry_or_a_reason(data: bytes) -> None:
    line = read_line_untrusted(data)
    assert (line.found is None) == bool(line.why)


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=3), one, max_size=3),
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys((*GOOD, "UNIT", "_COMM"), _VALUES)))
def test_any_fields_are_printable(fields: dict[str, Any]) -> None:
    entry = read(**fields)
    if entry is not None:
        words = (entry["text"], entry["unit"] or "", entry["component"] or "")
        assert all(word.replace("\t", "").isprintable() for word in words)
