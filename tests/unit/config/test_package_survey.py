"""A survey of packages: each is looked through once while it is in force, and it crosses a pipe as plain words."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.package_survey import Survey, once, pack_survey, surveyed, unpack_survey
from tlsrt.errors import ConfigError

NAMES = st.binary(max_size=12).map(lambda data: data.decode("utf-8", "surrogateescape"))  # as the names of files are


def test_what_is_looked_at_twice_is_looked_through_once_while_a_survey_is_in_force() -> None:
    looks: list[str] = []

    def look() -> list[str]:
        looks.append("look")
        return ["a", "b"]

    assert once("it", look) == once("it", look) == ("a", "b") and len(looks) == 2, "none is in force"
    with surveyed() as found:
        with surveyed() as inner:
            assert once("it", look) == ("a", "b")
        assert inner is found and once("it", look) == ("a", "b")
    assert len(looks) == 3 and found == {"it": ("a", "b")}
    with surveyed(found):
        assert once("it", look) == ("a", "b")
    assert len(looks) == 3, "it was found before"
    once("it", look)
    assert len(looks) == 4, "none is in force again"


def test_a_look_that_fails_leaves_nothing() -> None:
    def fail() -> list[str]:
        raise ConfigError("cannot read it")

    with surveyed() as found:
        with pytest.raises(ConfigError):
            once("it", fail)
        assert once("it", lambda: ["there again"]) == ("there again",)
    assert found == {"it": ("there again",)}


@given(st.dictionaries(NAMES, st.lists(NAMES).map(tuple)))
def test_it_comes_back_as_it_was(survey: Survey) -> None:
    assert unpack_survey(pack_survey(survey)) == survey


@given(st.binary(max_size=64))
def test_any_bytes_are_a_survey_or_one_error(data: bytes) -> None:
    try:
        found = unpack_survey(data)
    except ConfigError:
        return
    assert all(isinstance(word, str) for what, words in found.items() for word in (what, *words))


@pytest.mark.parametrize("value", [[], {1: ["a"]}, {"a": "b"}, {"a": [1]}, {"a": ["b", b"c"]}])
def test_what_has_another_shape_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="reload again"):
        unpack_survey(msgpack.packb(value))
