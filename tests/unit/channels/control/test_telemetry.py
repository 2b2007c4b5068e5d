"""Rows of telemetry: what was packed is read, and everything else is refused."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.channels.control.telemetry import (
    LOOKS,
    NUMBER_MAX,
    ROWS_MAX,
    SESSION_BYTES,
    UNKNOWN,
    Window,
    pack_rows,
    parse_rows_untrusted,
)
from tlsrt.channels.control.trust import TRUST
from tlsrt.errors import PeerError

WINDOW = Window(5, 1000, UNKNOWN, 1, 1, 0, 2, LOOKS, 3)
SESSION = bytes(range(16))
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 1 << 63), st.binary(max_size=20), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=12),
    max_leaves=30,
)  # fmt: skip


def test_what_was_packed_is_read() -> None:
    rows = [(SESSION, WINDOW), (bytes(16), WINDOW._replace(frames=0))]
    assert parse_rows_untrusted(pack_rows(rows)) == rows


@given(st.lists(ANYTHING, max_size=5))
@settings(max_examples=50)
def test_anything_else_is_refused_by_one_kind_of_error(content: list[Any]) -> None:
    try:
        rows = parse_rows_untrusted(content)
    except PeerError:
        return
    for session, window in rows:
        assert len(session) == SESSION_BYTES
        assert all(UNKNOWN <= number < 1 << 64 for number in window)


@pytest.mark.parametrize(
    "change",
    [
        {"frames": -1}, {"frames": NUMBER_MAX}, {"frames": True}, {"frames": 1.0}, {"frames": "1"}, {"bytes_in": -2},
        {"methods": -1}, {"targets": 1 << 64}, {"busy_looks": LOOKS + 1}, {"peak": None}, {"refused": UNKNOWN},
    ],
)  # fmt: skip
def test_a_wrong_number_is_refused(change: dict[str, Any]) -> None:
    row = [SESSION, *WINDOW._replace(**change)]
    with pytest.raises(PeerError, match="bad_row"):
        parse_rows_untrusted([row])


@pytest.mark.parametrize(
    "row", [[SESSION], [SESSION, *WINDOW, 1], [SESSION[:15], *WINDOW], ["x" * 16, *WINDOW], b"", 7]
)
def test_a_wrong_row_is_refused(row: Any) -> None:
    with pytest.raises(PeerError, match="bad_row"):
        parse_rows_untrusted([row])


def test_too_many_rows_are_refused_and_the_most_fit_into_a_message() -> None:
    most = NUMBER_MAX - 1
    largest = Window(most, most, most, (1 << 64) - 1, (1 << 64) - 1, most, most, LOOKS, most)
    rows = [(SESSION, largest)] * ROWS_MAX
    assert len(msgpack.packb(pack_rows(rows))) < TRUST.cap // 2
    with pytest.raises(PeerError, match="too_many_rows"):
        parse_rows_untrusted(pack_rows([*rows, rows[0]]))
