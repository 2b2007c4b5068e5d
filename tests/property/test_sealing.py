"""Sealing of secrets: what was sealed opens in its own place and nowhere else, and any bytes are a broken seal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tlsrt.errors import InvalidArgument
from tlsrt.loops.secondary.passwords import BITS_LEAST, CLASSES, LENGTH_MOST, PATTERN_MOST, make_password, parse_pattern
from tlsrt.loops.secondary.sealing import BrokenSeal, DataKey, HiddenBytes, Place, Root, sum_of

KEYS = st.binary(min_size=32, max_size=32)
NONCES = st.binary(min_size=12, max_size=12)
TEXT = st.text(max_size=20)
NUMBER = st.integers(0, 2**62)
PLACES = st.builds(Place, TEXT, TEXT, NUMBER, NUMBER, NUMBER, st.none() | NUMBER, st.booleans())
FIELDS = st.lists(TEXT | NUMBER | st.binary(max_size=20), max_size=5)


@given(KEYS, NONCES, PLACES, PLACES, st.binary(max_size=200))
def test_a_value_opens_in_its_place_and_in_no_other(
    key: bytes, nonce: bytes, place: Place, other: Place, value: bytes
) -> None:
    sealed = DataKey(key).seal(place, value, nonce)
    assert DataKey(key).open(place, sealed) == value
    assume(place != other)
    with pytest.raises(BrokenSeal):
        DataKey(key).open(other, sealed)


@given(KEYS, NONCES, PLACES, st.binary(min_size=1, max_size=200), st.data())
def test_a_flipped_bit_a_cut_and_another_key_are_broken_seals(
    key: bytes, nonce: bytes, place: Place, value: bytes, data: Any
) -> None:
    sealed = bytearray(DataKey(key).seal(place, value, nonce))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    whole = DataKey(key).seal(place, value, nonce)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for wrong in (bytes(sealed), cut):
        with pytest.raises(BrokenSeal):
            DataKey(key).open(place, wrong)
    other = data.draw(KEYS)
    assume(other != key)
    with pytest.raises(BrokenSeal):
        DataKey(other).open(place, whole)


@given(KEYS, st.binary(max_size=100), PLACES)
def test_any_bytes_are_a_broken_seal_and_nothing_else(key: bytes, found: bytes, place: Place) -> None:
    with pytest.raises(BrokenSeal):
        DataKey(key).open(place, found)
    with pytest.raises(BrokenSeal):
        Root(key).unwrap(place.namespace, place.key_number, found)


@given(KEYS, KEYS, NONCES, TEXT, TEXT, NUMBER)
def test_a_data_key_is_wrapped_for_its_namespace(
    root: bytes, key: bytes, nonce: bytes, space: str, other: str, number: int
) -> None:
    wrapped = Root(root).wrap(space, number, key, nonce)
    place = Place(space, "n", 1, number, 1, None, True)
    assert Root(root).unwrap(space, number, wrapped).open(place, DataKey(key).seal(place, b"v", nonce)) == b"v"
    assume(space != other)
    with pytest.raises(BrokenSeal):
        Root(root).unwrap(other, number, wrapped)


@given(KEYS, FIELDS, FIELDS)
def test_no_two_lists_of_fields_have_one_seal(root: bytes, fields: list[Any], other: list[Any]) -> None:
    plain = [[one.encode() if isinstance(one, str) else one for one in each] for each in (fields, other)]
    joined = [
        [one if isinstance(one, bytes) else one.to_bytes(9, "big", signed=True) for one in each] for each in plain
    ]
    assume(joined[0] != joined[1])
    assert Root(root).seal(b"k", *fields) != Root(root).seal(b"k", *other)
    assert Root(root).seal(b"k", *fields) != Root(root).seal(b"l", *fields)


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=8), st.randoms())
def test_a_sum_is_the_same_in_any_order(seals: list[bytes], random: Any) -> None:
    total = sum_of(seals)
    random.shuffle(seals)
    assert sum_of(seals) == total and len(total) == 16


@given(KEYS, FIELDS, FIELDS)
def test_a_node_is_of_its_kind_and_fields_alone(key: bytes, fields: list[Any], others: list[Any]) -> None:
    assume(fields != others)
    root = Root(key)
    nodes = {root.node(b"group", *fields), root.node(b"top", *fields), root.node(b"group", *others)}
    assert len(nodes) == 3 and all(len(node) == 32 for node in nodes)


@given(st.binary(max_size=50))
def test_hidden_bytes_are_shown_nowhere(value: bytes) -> None:
    hidden = HiddenBytes(value)
    sentence = f"<{len(value)} bytes, not shown>"
    assert {repr(hidden), str(hidden), f"{hidden}", f"{hidden!r:}", str([hidden])[1:-1]} == {sentence}
    assert hidden == value


@given(st.text(max_size=PATTERN_MOST))
def test_any_pattern_gives_a_password_or_one_sentence(pattern: str) -> None:
    try:
        signs = parse_pattern(pattern)
    except InvalidArgument:
        return
    made = make_password(pattern, lambda choices: choices[-1])
    assert len(made) == len(signs) <= LENGTH_MOST
    assert all(letter in choices for letter, choices in zip(made, signs, strict=True))


@given(st.sampled_from(sorted(CLASSES)), st.integers(0, 600))
def test_a_repeated_class_gives_so_many_signs(letter: str, count: int) -> None:
    bits = {"A": 4.7, "a": 4.7, "9": 3.32, "*": 5.95, "!": 3.32}[letter] * count
    if count > LENGTH_MOST or bits < BITS_LEAST - 1:
        with pytest.raises(InvalidArgument):
            parse_pattern(f"{letter}{{{count}}}")
    elif bits > BITS_LEAST + 1:
        assert parse_pattern(f"{letter}{{{count}}}") == [CLASSES[letter]] * count
