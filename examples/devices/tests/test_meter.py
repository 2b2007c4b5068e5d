"""The meter without its line: what it makes of bytes."""

from __future__ import annotations

import pytest
from home_devices.meter import LONGEST_LINE, Lines, reading_of


def test_lines_come_whole_however_the_bytes_come() -> None:
    lines = Lines()
    said = b"power=1250\r\nvoltage=23"
    assert [line for byte in said for line in lines.feed(bytes([byte]))] == ["power=1250"]
    assert lines.feed(b"0.5\n\n") == ["voltage=230.5", ""]


def test_what_is_too_long_is_left_out_and_takes_no_memory() -> None:
    lines = Lines()
    for _ in range(1000):
        assert lines.feed(b"x" * 1000) == []
    assert len(lines._rest) <= LONGEST_LINE + 1
    assert lines.feed(b"\npower=1\n") == ["power=1"]


@pytest.mark.parametrize(
    ("line", "reading"),
    [
        ("power=1250", ("power", 1250.0)),
        (" t = -3.5", ("t", -3.5)),
        ("power", None),
        ("=1", None),
        ("a=b", None),
        ("", None),
    ],
)
def test_a_line_is_a_reading_or_none(line: str, reading: tuple[str, float] | None) -> None:
    assert reading_of(line) == reading
