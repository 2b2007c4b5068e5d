"""QR codes for a terminal: what was drawn once and read by another program (zxing-cpp 3.1) is drawn the same."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.supervisor.cli.qr_code import BYTES_MAX, qr_code, terminal_lines

FINDER = ("#######", "#.....#", "#.###.#", "#.###.#", "#.###.#", "#.....#", "#######")


@pytest.mark.parametrize(
    ("data", "size", "digest"),
    [
        (b"A", 21, "41cc8c420635cc9c"),
        (b"https://192.0.2.7:7443/#" + b"abcd2345" * 9, 37, "490065cc6de5474d"),
        (b"https://" + b"host.example." * 10, 45, "28c529702fc0890e"),
        (b"x" * BYTES_MAX, 53, "89558593fb3f5b2c"),
    ],
)
def test_a_code_that_a_reader_has_read(data: bytes, size: int, digest: str) -> None:
    grid = qr_code(data)
    drawn = "".join("#" if dark else "." for row in grid for dark in row)
    assert len(grid) == size and hashlib.sha256(drawn.encode()).hexdigest()[:16] == digest


@given(st.binary(min_size=1, max_size=BYTES_MAX))
def test_every_code_is_square_with_its_three_finders(data: bytes) -> None:
    grid = qr_code(data)
    size = len(grid)
    assert size % 4 == 1 and all(len(row) == size for row in grid)
    for left, top in ((0, 0), (size - 7, 0), (0, size - 7)):
        seen = ["".join("#" if dark else "." for dark in row[left : left + 7]) for row in grid[top : top + 7]]
        assert tuple(seen) == FINDER
    lines = terminal_lines(grid)
    assert len(lines) == (size + 5) // 2 and {len(line) for line in lines} == {size + 4}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        qr_code(b"x" * (BYTES_MAX + 1))
