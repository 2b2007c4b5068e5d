"""Argument patterns: what fits, what does not, and that any bytes are judged in bounded time by one error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.argument_patterns import (
    ARGUMENT_BYTES_MOST,
    ARGUMENTS_BYTES_MOST,
    ARGUMENTS_MOST,
    NO_ARGUMENTS,
    ArgumentError,
    check_arguments_untrusted,
    parse_form,
)


def fits(form: str, *arguments: str) -> bool:
    try:
        check_arguments_untrusted([one.encode() for one in arguments], [parse_form(form)])
    except ArgumentError:
        return False
    return True


@pytest.mark.parametrize(
    ("form", "arguments"),
    [
        ("", ()),
        ("--version", ("--version",)),
        ("log  -n {count:1-100}", ("log", "-n", "100")),
        ("--format={format:/mp3|wav/}", ("--format=wav",)),
        ("-c {text:text}", ("-c", "rm -rf / ; $(reboot) 'x'")),
        ("{file}...", ("a", "b.txt", "c_1")),
        ("-f {file}... --", ("-f", "a", "b", "--")),
        ("{a}... {b}... end", ("x", "y", "end")),
        ("{{literal}}", ("{literal}",)),
        ("{path:/[a-z]{2,4} [0-9]+/}", ("ab 12",)),
        ("scale={w:1-4096}:{h:1-4096}", ("scale=640:480",)),
        (r"{a}{b:/(?P<x>[a-z])(?P=x)/}", ("aff",)),
        (r"{a}{b:/(?P<x>,)?z(?(x),|;)/}", ("a,z,",)),
        (r"{a:/\\1/}", ("\\1",)),
        (r"{a:/\(?(b)/}", ("b",)),
        ("--x={a:text}", ("--x=-1",)),
    ],
)
def test_what_fits(form: str, arguments: tuple[str, ...]) -> None:
    assert fits(form, *arguments)


@pytest.mark.parametrize(
    ("form", "arguments"),
    [
        ("", ("x",)),
        ("--version", ()),
        ("--version", ("--version", "")),
        ("{count:1-100}", ("0",)),
        ("{count:1-100}", ("101",)),
        ("{count:1-100}", ("007",)),
        ("{count:1-100}", ("+7",)),
        ("{count:1-100}", ("-7",)),
        ("{count:1-100}", ("7\n",)),
        ("{count:1-100}", ("٣",)),  # a digit, but not one of ASCII
        ("{file}", ("-rf",)),
        ("{file}", ("../up",)),
        ("{file}", ("/etc/passwd",)),
        ("{file}", ("",)),
        ("{file}...", ()),
        ("{file}...", ("a", "-x")),
        ("{text:text}", ("-x",)),
        ("{text:text}", ("a\tb",)),
        ("{a:/x?/}{b:text}", ("-rf",)),
        ("{a:/x?/}{b:/y?/}{c:text}...", ("ok", "-rf")),
        ("{f:/mp3|wav/}", ("mp3x",)),
        ("{f:/mp3|wav/}", ("wav\n",)),
        ("x{f:/a|b/}", ("b",)),
        ("a.b", ("aXb",)),
    ],
)
def test_what_does_not_fit(form: str, arguments: tuple[str, ...]) -> None:
    assert not fits(form, *arguments)


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("{", "without its }"),
        ("a}", "without a {"),
        ("{Name}", "needs a name"),
        ("{n:9-1}", "a range without a number"),
        ("{n:number}", "has no type"),
        ("{n:/(/}", "is no regular expression"),
        ("{n:/a)|(b/}", "is no regular expression"),
        ("{n}{n}", "is no pattern"),
        (r"{n:/(a|b)\1/}", "give the group a name"),
        (r"{n:/(a)?b(?(1)c|d)/}", "give the group a name"),
        ("a ...", "right behind the word"),
        (" ".join("a" * 65), "at most 64 words"),
    ],
)
def test_what_is_no_form(form: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="arguments: ") as caught:
        parse_form(form)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([b"a"] * (ARGUMENTS_MOST + 1), "more than"),
        ([b"a" * (ARGUMENT_BYTES_MOST + 1)], "longer than"),
        ([b"a" * ARGUMENT_BYTES_MOST] * (ARGUMENTS_BYTES_MOST // ARGUMENT_BYTES_MOST + 1), "longer than"),
        ([b"a\0b"], "null byte"),
        ([b"\xff"], "not UTF-8"),
        ([b"\xed\xa0\x80"], "not UTF-8"),
    ],
)
def test_no_form_takes_what_no_program_may_get(arguments: list[bytes], sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        check_arguments_untrusted(arguments, [parse_form("{x:/(?s:.*)/}...")])


def test_without_forms_there_are_no_arguments() -> None:
    check_arguments_untrusted([], [])
    with pytest.raises(ArgumentError, match="it takes none"):
        check_arguments_untrusted([b"x"], [])
    assert NO_ARGUMENTS.fits([])


@given(st.text(max_size=60))
def test_every_text_is_a_form_or_a_value_error(text: str) -> None:
    try:
        assert parse_form(text).text == text
    except ValueError as error:
        assert str(error)  # noqa: PT017


@given(st.lists(st.binary(max_size=40), max_size=12), st.sampled_from(["", "{a}...", "-x {b:text}", "{n:1-9}... z"]))
def test_any_arguments_are_taken_or_the_one_error(arguments: list[bytes], form: str) -> None:
    try:
        check_arguments_untrusted(arguments, [parse_form(form)])
    except ArgumentError as error:
        assert str(error).isprintable()  # noqa: PT017


@given(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=20))
def test_literal_words_fit_exactly_themselves(words: list[str]) -> None:
    form = " ".join(words)
    assert fits(form, *words)
    assert not fits(form, *words, "x")
    assert not fits(form, *words[:-1])


PIECES = st.sampled_from(["text", "", "1-9", "/x?/", "/[a-z]*/", "literal"])
LOOKS_LIKE_AN_OPTION = st.text(alphabet="-x1a", max_size=8)


@given(st.lists(PIECES, min_size=1, max_size=4), LOOKS_LIKE_AN_OPTION)
def test_no_argument_is_taken_for_an_option_unless_its_form_begins_as_one(kinds: list[str], argument: str) -> None:
    word = "".join("a" if kind == "literal" else f"{{p{at}:{kind}}}" for at, kind in enumerate(kinds))
    assert not (argument.startswith("-") and fits(word, argument))


def test_repeated_words_cost_no_more_than_words_times_arguments() -> None:
    form = parse_form(" ".join(["{a%d}..." % number for number in range(60)]))  # noqa: UP031
    assert form.fits(["x"] * 256)
    assert not form.fits(["x"] * 255 + ["-"])
