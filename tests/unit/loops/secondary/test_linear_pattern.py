"""Linear patterns match what Python's `re` matches whole, and no text or expression takes them long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlsrt.loops.secondary.linear_pattern import LinearPattern

PIECES = st.recursive(
    st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "[b-c0-9]", "", r"\.", "[^\\d]"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,3}", "{2,}", "*?", "+?", "{0}"])).map(
            lambda two: f"({two[0]}){two[1]}"
        ),
    ),
    max_leaves=8,
)


@given(PIECES, st.lists(st.text("abc1.\n", max_size=6), min_size=1, max_size=12))
@example("(a*)*(b|a{2,3})?", ["aaab", "aaaa", "b", ""])
@example("(|a)+b", ["b", "aab"])
@example("((a?){2,3}b){2,}", ["bb", "aabab", "aaaabb"])
def test_it_matches_as_re_does(pattern: str, texts: list[str]) -> None:
    ours = LinearPattern(pattern)
    for text in texts:
        assert ours.fullmatch(text) is bool(re.fullmatch(pattern, text)), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (r"^[a-z0-9.-]+\.[a-z]{2,}$", "broker.lan", True),
        (r"^[a-z0-9.-]+\.[a-z]{2,}$", "broker.", False),
        (r"\d{1,3}(\.\d{1,3}){3}", "192.168.0.255", True),
        (r"[äöü]\w*", "über", True),
        (r"[^\W\d]+", "Straße", True),
        ("", "", True),
        ("$", "\n", False),
        (r"[\w-]{1,64}", "x" * 65, False),
    ],
)
def test_patterns_as_people_write_them(pattern: str, text: str, fits: bool) -> None:
    assert LinearPattern(pattern).fullmatch(text) is fits
    assert bool(re.fullmatch(pattern, text)) is fits


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("a(?=b)", "looking|write it without"), (r"(a)\1", "a reference to a group"), ("(?i)a", "flags"),
        ("(?i:a)b", "flags"), (r"a\bb", r"\^, \$ or"), ("(?>a+)b", "."), ("a++b", "."), ("(", "cannot be read"),
        ("(a{900}){900}", "more than 1024 signs"), ("((((a{9}){9}){9}){9}){9}", "more than 1024 signs"),
        ("(){4000000000}", "more than 1024|cannot be read"), ("(" * 40 + ")" * 40, "more than 1024"),
        ("(" * 5000 + ")" * 5000, "cannot be read|more than"), ("(a)(?(1)b|c)", "a condition"),
    ],
)  # fmt: skip
def test_what_has_no_bound_is_refused_with_a_sentence(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LinearPattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["(a+)+", "(a|a)*b", "(a*)*b", "(.*)*x", ".*.*.*.*.*x", "(a?){400}a{400}", ".*a.{900}"]
)
def test_no_text_takes_long(pattern: str) -> None:
    """Each of these takes `re` longer than the world is old for 4096 characters, or many hours."""
    ours = LinearPattern(pattern)
    began = time.thread_time()
    ours.fullmatch("a" * 4095 + "!")
    ours.fullmatch("ab" * 2048)
    assert time.thread_time() - began < 2
