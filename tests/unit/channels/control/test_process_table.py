"""The table of processes on its way to a component: what is told, and what a supervisor could not have said."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.process_table import (
    ROWS_MAX,
    TABLE_MAX,
    ProcessRow,
    ProcessTable,
    decode_table_untrusted,
    encode_table,
)
from tlsrt.errors import PeerError

ROW = ProcessRow("primary.facts", "active", 12, 0, 5, 4096, 2)


def test_a_table_makes_its_way() -> None:
    assert decode_table_untrusted(encode_table([ROW], 3)) == ProcessTable((ROW,), 3)


def test_the_longest_table_fits_into_a_datagram() -> None:
    row = ProcessRow("a" * 31 + "." + "b" * 31, "s" * 16, 1 << 22, 9999, 1 << 40, 1 << 40, 9999)
    data = encode_table([row] * 500, 1 << 40)
    assert len(data) <= TABLE_MAX and len(decode_table_untrusted(data).rows) == ROWS_MAX


@pytest.mark.parametrize(
    "items",
    [
        [], [0], ["0", []], [0, {}], [-1, []], [0, [[]]], [0, [["A", "active", 1, 0, 0, 0, 0]]],
        [0, [["a", "active!", 1, 0, 0, 0, 0]]], [0, [["a", "active", -1, 0, 0, 0, 0]]],
        [0, [["a", "active", 1, 0, 0, 0, True]]], [0, [["a", "active", 1, 0, 0, 0, 0]] * (ROWS_MAX + 1)],
    ],
)  # fmt: skip
def test_anything_else_is_refused(items: object) -> None:
    with pytest.raises(PeerError, match="bad_table"):
        decode_table_untrusted(msgpack.packb(items))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_error(data: bytes) -> None:
    try:
        assert isinstance(decode_table_untrusted(data), ProcessTable)
    except PeerError:
        pass
