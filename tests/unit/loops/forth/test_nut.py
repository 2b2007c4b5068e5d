"""The protocol of NUT: what is an answer, and any bytes are one or are refused. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.forth.nut import LINE_MAX, NutError, is_low, on_battery, question, value_untrusted, words_untrusted
from tlsrt.loops.forth.ups import Ups


def test_a_value_is_read_with_its_quotes() -> None:
    assert question("rack", "ups.status") == b"GET VAR rack ups.status\n"
    assert value_untrusted(b'VAR rack ups.status "OL CHRG"\n', "rack", "ups.status") == "OL CHRG"
    assert value_untrusted(rb'VAR rack ups.model "a \"b\" \\ c"' + b"\n", "rack", "ups.model") == 'a "b" \\ c'


@pytest.mark.parametrize(
    "line",
    [
        b"", b"ERR UNKNOWN-UPS\n", b'VAR other ups.status "OL"\n', b'VAR rack ups.load "OL"\n',
        b"VAR rack ups.status\n",
        b'VAR rack ups.status "OL', b'VAR rack ups.status "OL"x\n', b"\xff\n",
        b"VAR rack ups.status " + b"x" * LINE_MAX,
        b'VAR rack ups.status "a\\n"\n',
    ],
)  # fmt: skip
def test_another_line_is_refused(line: bytes) -> None:
    with pytest.raises(NutError):
        value_untrusted(line, "rack", "ups.status")


@given(st.binary(max_size=LINE_MAX + 2))
def test_any_bytes_are_words_or_the_one_error(line: bytes) -> None:
    try:
        words = words_untrusted(line)
    except NutError:
        return
    assert all(isinstance(word, str) for word in words)


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=10), min_size=1, max_size=5)
)
def test_words_that_are_quoted_come_back(words: list[str]) -> None:
    quoted = ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words]
    assert words_untrusted(" ".join(quoted).encode()) == words


@pytest.mark.parametrize(
    ("status", "battery", "low"),
    [("OL", False, False), ("OL LB", False, False), ("OB", True, False), ("OB LB", True, True), ("FSD OL", False, True),
     ("", None, False), ("NOOB LBX", None, False)],
)  # fmt: skip
def test_a_status_is_flags(status: str, battery: bool | None, low: bool) -> None:
    assert (on_battery(status), is_low(status)) == (battery, low)


def test_where_it_is() -> None:
    assert Ups.read("rack@127.0.0.1") == Ups("rack", "127.0.0.1", 3493)
    assert Ups.read("rack@[::1]:99") == Ups("rack", "::1", 99)
    for wrong in ("rack", "ra ck@h", "rack@h:0", "rack@h:99999", "rack@h\nx", "@h"):
        with pytest.raises(ValueError, match="NAME@HOST"):
            Ups.read(wrong)
