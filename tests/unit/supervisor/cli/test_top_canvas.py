"""What `top` writes to a terminal: the cells that changed, and nothing of what a slow one was overtaken by."""

from __future__ import annotations

import os
import pty
import re
import select
import tty
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

if os.environ.get("CI") != "true":
    pytest.importorskip("textual", reason="textual is in the extras `tui` and `dev`")

from tlsrt.supervisor.cli.top_canvas import Canvas
from tlsrt.supervisor.cli.top_terminal import Painter, Terminal, terminal_of

STYLES = ("", "\x1b[1m", "\x1b[31m", "\x1b[38;5;23;48;5;234m")
TEXTS = st.text(alphabet="ab #家e\u0301▁─", max_size=12)
WRITES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30), st.sampled_from(STYLES), TEXTS), max_size=12)


def frame(writes: list[tuple[int, int, str, str]]) -> str:
    return "".join(f"\x1b[{row + 1};{column + 1}H{style}{text}\x1b[0m" for row, column, style, text in writes)


def everything(canvas: Canvas) -> str:
    return "".join(iter(canvas.changes, ""))


def cells(canvas: Canvas) -> Any:
    return {row: [*line] for row, line in canvas._wanted.items() if any(cell != (" ", "") for cell in line)}


@given(st.lists(WRITES, max_size=5))
def test_the_terminal_shows_what_the_screen_has_whatever_came_before(frames: list[Any]) -> None:
    canvas, terminal = Canvas(), Canvas()
    for writes in frames:
        assert canvas.feed(frame(writes)) == ""
        assert terminal.feed(everything(canvas)) == ""
        for row, line in cells(canvas).items():
            shown = terminal._wanted.get(row, [])
            assert [cell.text for cell in shown[: len(line)]] == [cell.text for cell in line]
            assert [cell.style for cell in shown[: len(line)]] == [cell.style for cell in line]
        assert everything(canvas) == ""


def test_only_what_changed_is_written() -> None:
    canvas = Canvas()
    whole = "".join(f"\x1b[{row};1H\x1b[38;5;23m{'x' * 80}\x1b[0m" for row in range(1, 25))
    canvas.feed(whole)
    assert len(everything(canvas)) <= len(whole)
    canvas.feed(whole)
    assert everything(canvas) == ""
    canvas.feed(whole + "\x1b[3;7H7")
    assert everything(canvas) == "\x1b[3;7H7"
    canvas.feed("\x1b[3;7Ha\x1b[3;9Hb")
    assert everything(canvas) == "\x1b[3;7Ha\x1b[3;9Hb", "what is between has another style"


def test_after_another_size_all_of_it_is_written_again_and_nothing_beyond() -> None:
    canvas = Canvas()
    canvas.feed("\x1b[1;1Habcdef\x1b[5;1Hlow")
    everything(canvas)
    canvas.resize(3, 2)
    assert everything(canvas) == "\x1b[1;1Habc"


def test_modes_go_through_and_the_other_page_begins_empty() -> None:
    canvas = Canvas()
    canvas.feed("\x1b[1;1Hx")
    assert canvas.feed("\x1b[?1049h\x1b[?25l\x1b[>25u\x1b[?2026h") == "\x1b[?1049h\x1b[2J\x1b[?25l\x1b[>25u"
    assert everything(canvas) == ""
    canvas.feed("\x1b[1;1Hy")
    assert canvas.feed("\x1b[?1049l") == "\x1b[?1049l"
    assert everything(canvas) == "", "nothing is painted over what stood there before"


PIECES = st.lists(st.sampled_from(["\x1b[", "?25l", "\x1b]0;x\x07", "3;4H", "31m", "家", "x"])).map("".join)


@given(st.text(max_size=60) | PIECES)
def test_an_old_terminal_gets_ascii_moves_and_three_styles_whatever_is_written(data: str) -> None:
    canvas = Canvas(is_ascii=True, is_old=True)
    written = canvas.feed(data) + everything(canvas)
    known = re.sub(r"\x1b\[(?:\d+;\d+H|[0147](?:;[147])*m|\?(?:1049|25|7)[hl]|2J)", "", written)
    assert known.isascii() and (known.isprintable() or not data.isprintable()), known


def test_pictures_of_a_screen_have_a_likeness_in_ascii() -> None:
    canvas = Canvas(is_ascii=True)
    canvas.feed("\x1b[1;1H┌─┐│…家é")
    assert everything(canvas) == "\x1b[1;1H+-+|~???"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color", "LANG": "en_GB.UTF-8"}, Terminal()),
        ({"TERM": "xterm", "LC_ALL": "C.utf8", "LANG": "C"}, Terminal()),
        ({"TERM": "xterm", "LANG": "C", "LC_CTYPE": "C.UTF-8"}, Terminal(is_ascii=True)),
        ({"TERM": "xterm", "LC_CTYPE": "C.UTF-8"}, Terminal(is_ascii=True)),
        ({"TERM": "xterm", "LC_ALL": "de_DE.ISO-8859-15@euro", "LANG": "de_DE.UTF-8"}, Terminal(is_ascii=True)),
        ({"TERM": "xterm", "LANG": "de_DE.UTF-8@euro"}, Terminal()),
        ({"TERM": "vt220", "LANG": "C.UTF-8"}, Terminal(is_ascii=True, is_old=True)),
        ({}, Terminal(is_ascii=True)),
    ],
)
def test_what_a_terminal_shows_is_what_its_environment_says(
    environment: dict[str, str], expected: Terminal
) -> None:  # fmt: skip
    assert terminal_of(environment) == expected


def test_a_terminal_that_takes_nothing_holds_up_nothing_and_gets_the_last_picture_only() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    painter = Painter(theirs, Canvas())
    for number in range(3000):
        line = f"{number:04d}".ljust(80, "x")
        painter.write("".join(f"\x1b[{row};1H{line}" for row in range(1, 25)))
    painter.write("\x1b[1;1Hlast")
    written = b""
    while b"last" not in written or select.select([ours], [], [], 0.2)[0]:
        written += os.read(ours, 65536)
    painter.stop()
    os.close(ours)
    os.close(theirs)
    terminal = Canvas()
    terminal.feed(written.decode())
    assert ["".join(cell.text for cell in terminal._wanted[row][:4]) for row in (0, 1, 23)] == ["last", "2999", "2999"]
    assert len(written) < 3000 * 24 * 20, "most of what was overtaken was never written"
