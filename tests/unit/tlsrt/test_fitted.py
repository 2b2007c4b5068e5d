"""Tables within the width of a terminal."""

from __future__ import annotations

import os
import pty
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.command_line.fitted import fitted_table, shown_at, terminal_width
from tlsrt.text import table

ROWS = (
    ("NAME", "STATE", "PID", "WHY"),
    ("third/kettle", "active", "1234", "it boils the water that the tea of this house is made of"),
)


def test_without_a_width_a_table_has_all() -> None:
    assert fitted_table(ROWS, {"PID"}, least=("PID",), cut="WHY") == table(ROWS, {"PID"})
    with shown_at(120):
        assert fitted_table(ROWS, {"PID"}, least=("PID",), cut="WHY") == table(ROWS, {"PID"})


def test_a_column_is_cut_before_others_go() -> None:
    with shown_at(60):
        head, row, words = fitted_table(ROWS, {"PID"}, least=("PID",), cut="WHY")
    assert head.split() == ["NAME", "STATE", "PID", "WHY"] and row.endswith("…") and len(row) == 60
    assert words == "(--wide has the whole lines)"


def test_what_matters_least_goes_first_and_the_last_line_says_what() -> None:
    with shown_at(44):
        head, row, words = fitted_table(ROWS, {"PID"}, least=("PID", "STATE"), cut="WHY")
    assert head.split() == ["NAME", "STATE", "WHY"] and len(row) <= 44
    assert words == "(--wide has PID too)"


@given(st.lists(st.tuples(*[st.text(max_size=60)] * 4), max_size=4), st.integers(40, 200))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    with shown_at(width):
        lines = fitted_table([ROWS[0], *rows], {"PID"}, least=("PID", "STATE"), cut="WHY")
    assert all(len(line) <= width and line.isprintable() for line in lines)


def test_a_pipe_and_wide_have_no_width_and_a_terminal_its_own() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as terminal, patch("sys.stdout", terminal):
        assert terminal_width(is_wide=True) is None
        assert terminal_width(is_wide=False) is None  # one that does not say its size
        with patch("os.get_terminal_size", lambda descriptor: os.terminal_size((80, 24))):
            assert terminal_width(is_wide=False) == 80
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "w") as pipe, patch("sys.stdout", pipe):
        assert terminal_width(is_wide=False) is None
