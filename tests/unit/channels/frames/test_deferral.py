"""Deferrals as they come from a caller: read as they were made, or refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.frames.body import decode_request_untrusted, encode_request
from tlsrt.channels.frames.deferral import OF_ONE, Deferral, deferral_untrusted
from tlsrt.errors import PeerError

PUT = ("put", bytes(8), "30 6 * * *", "once", b"\x93\x90\x80\xc0", 5, 6, 7, bytes(16))
KEPT = (*PUT, bytes(32))  # with a key for its result
VALUES = st.none() | st.booleans() | st.integers(-1, 1 << 64) | st.binary(max_size=20) | st.text(max_size=20)


@pytest.mark.parametrize("fields", [PUT, KEPT, ("list",), *((what, bytes(8)) for what in OF_ONE)])
def test_a_deferral_comes_as_it_was_sent(fields: tuple[Any, ...]) -> None:
    _, _, found, tried = decode_request_untrusted(encode_request((), {}, fields))
    assert isinstance(found, Deferral) and tried is None
    assert tuple(found)[: len(fields)] == fields


@pytest.mark.parametrize("key", ["key", ("key", 3), None])
def test_a_key_is_still_a_key(key: Any) -> None:
    _, _, found, tried = decode_request_untrusted(encode_request((), {}, key))
    assert (found, tried) == (key if isinstance(key, tuple) else (key, None))


@pytest.mark.parametrize("place", range(len(PUT)))
@given(value=VALUES)
def test_a_wrong_field_is_refused(place: int, value: Any) -> None:
    fields: list[Any] = [*PUT]
    fields[place] = value
    try:
        found = deferral_untrusted(fields)
    except PeerError:
        return
    assert [*found][: len(PUT)] == fields


@given(st.lists(VALUES, max_size=10))
def test_anything_is_a_deferral_or_refused(fields: list[Any]) -> None:
    with suppress(PeerError):
        assert deferral_untrusted(fields).what in ("put", "list", *OF_ONE)


@pytest.mark.parametrize(
    "fields",
    [
        [], ["put"], ["list", 1], ["remove"], ["remove", bytes(7)], ["drop", bytes(8)],
        ["pause"], ["show", bytes(9)], [*PUT, b""], [*PUT, bytes(31)], [*KEPT, 1], [*PUT[:3], "+59", *PUT[4:]],
        [*PUT[:4], b"", *PUT[5:]], [*PUT[:4], bytes(4097), *PUT[5:]], [*PUT[:3], "often", *PUT[4:]],
    ],
)  # fmt: skip
def test_what_is_none(fields: list[Any]) -> None:
    with pytest.raises(PeerError, match="bad_body"):
        deferral_untrusted(fields)
