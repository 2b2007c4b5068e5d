"""Text for people: what may steer a terminal, what is too long, tables, durations and sizes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.text import ascii_only, duration, parse_duration, printable, quoted, sentence, size, table

TEXT = st.text(max_size=40)


@given(TEXT, st.integers(1, 30))
def test_a_printable_text_is_one_line_within_its_bound(text: str, most: int) -> None:
    for found in (printable(text, most), sentence(text, most)):
        assert found.isprintable() and len(found) <= most
    assert printable(text).isprintable() and quoted(text, most).isprintable()
    assert len(quoted(text, most)) <= 10 * most + 2


@given(TEXT)
def test_what_is_printable_already_stays(text: str) -> None:
    assert (printable(text) == text) == text.isprintable()
    assert printable(text, keep=text) == text


def test_escapes_and_cuts() -> None:
    assert printable("a\x1b[2J\nb") == r"a\x1b[2J\nb"
    assert printable("a\tb\nc\r", keep="\n\t") == "a\tb\nc" + r"\r"
    assert printable("abcdef", 4) == "abc…"
    assert printable("ab\x1b\x1b", 6) == "ab…"  # not half an escape
    assert sentence("one\ntwo\x07") == r"one; two\x07"
    assert quoted("it's\n") == '"it\'s\\n"' and quoted("abcdef", 4) == "'abc…'"


@given(TEXT, TEXT)
def test_no_two_texts_have_the_same_ascii(one: str, other: str) -> None:
    assert (ascii_only(one) == ascii_only(other)) == (one == other)
    assert ascii_only(one).isascii() and ascii_only(one).isprintable()


@given(TEXT, st.integers(3, 30))
def test_ascii_is_cut_between_escapes(text: str, most: int) -> None:
    found = ascii_only(text, most)
    assert len(found) <= most
    if found != ascii_only(text):
        assert found.endswith("...") and ascii_only(text).startswith(found[:-3])
        assert re.fullmatch(r"(?:[^\\]|\\\\|\\x..|\\u.{4}|\\U.{8})*", found[:-3])


def test_a_table() -> None:
    assert table([("NAME", "SIZE", "NOTE"), ("a", "5", ""), ("long", "50000", "x")], right={"SIZE"}) == [
        "NAME   SIZE  NOTE",
        "a         5",
        "long  50000  x",
    ]
    assert table([("a\x1b", "b")]) == [r"a\x1b  b"]
    assert table([]) == []
    with pytest.raises(ValueError, match="zip"):
        table([("a", "b"), ("c",)])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (3723, "1 h 2 min"),
        (90_000, "1 d 1 h"),
        (1e9, "11574 d 1 h"),
    ],
)
def test_durations_as_text(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("0.5s", 0.5)])
def test_durations_from_text(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_a_number_without_a_unit_is_seconds_only_where_it_may_be() -> None:
    assert parse_duration("2.5", has_default_unit=True) == 2.5
    with pytest.raises(ValueError, match=re.escape('invalid duration "2.5": use 90s, 15m, 2h or 7d')):
        parse_duration("2.5")


@pytest.mark.parametrize("text", ["", "s", "1e3s", "-1s", "1 s", "٣s", "1.s", "1234567890s", "1s\n", "nan", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="use 90s, 15m, 2h or 7d"):
        parse_duration(text, has_default_unit=True)


def test_durations_out_of_bounds() -> None:
    with pytest.raises(ValueError, match=re.escape('invalid duration "301s": use at most 5 min 0 s')):
        parse_duration("301s", most_s=300)
    with pytest.raises(ValueError, match=re.escape('invalid duration "0.1s": use at least 0.2 s')):
        parse_duration("0.1s", least_s=0.2)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (100 << 20, "100 MiB"),
        (1 << 31, "2.0 GiB"),
        (1 << 60, "1048576 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
