"""Lines that are wider than a terminal go on below, and what is to be copied stays in one piece."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.command_line.folding import folded, folded_output

LONG = "/etc/tlsrt/" + "x" * 90


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("a b c", "a b c"),
        ("one two three four", "one two\n  three\n  four"),
        ("  one two three", "  one two\n    three"),
        (f"wrote {LONG}: so", f"wrote\n  {LONG}:\n  so"),
        ("say `one two three` now", "say\n  `one two three`\n  now"),
        ("next: tlsrt-supervisor seal", "next:\n  tlsrt-supervisor seal"),
        ("a  b         c", "a  b\n  c"),
        ("\x1b[31mone\x1b[0m two", "\x1b[31mone\x1b[0m two"),
        ("one two ` three", "one two `\n  three"),
        ("", ""),
    ],
)
def test_a_line_is_folded_at_spaces(line: str, wanted: str) -> None:
    assert folded(line, 10) == wanted


@given(st.text("ab `:/", max_size=60), st.integers(8, 30))
def test_no_piece_is_lost_and_no_line_is_wider_than_its_one_piece(line: str, width: int) -> None:
    shown = folded(line, width)
    assert shown.split() == line.split()
    for each in shown.split("\n"):
        assert len(each) <= width or len(re.findall(r"(?:[^\s`]|`[^`]*`|`)+", each)) == 1


def terminal(columns: int) -> tuple[int, TextIO]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, os.fdopen(theirs, "w")


def test_a_terminal_gets_folded_lines_and_a_pipe_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(["word"] * 30)
    with folded_output(has_answer=True):
        print(text)
    assert capsys.readouterr().out == f"{text}\n"
    ours, theirs = terminal(80)
    monkeypatch.setattr(sys, "stdout", theirs)
    with folded_output(has_answer=False):
        print(text, flush=True)
    assert os.read(ours, 4096).decode() == f"{text}\r\n"
    with folded_output(has_answer=True):
        print(text, flush=True)
    lines = os.read(ours, 4096).decode().splitlines()
    assert len(lines) == 2 and max(map(len, lines)) <= 80 and lines[1].startswith("  word")
    theirs.close()
    os.close(ours)
