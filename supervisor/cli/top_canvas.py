"""The cells of a terminal as they are to be and as they are: only what differs is written. Pure.

Textual writes a region again when a cell of it changes, with the style of every cell: some 7 KB a second for a host at
rest. What it writes is read here into cells, and given back as the few that changed. Beyond that everything it sends
(modes of the terminal at start and end) goes through as it is; on a terminal like a VT220 only what that knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from rich.cells import get_character_cell_size

_PIECE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\r\n]|[^\x1b\r\n]+", re.DOTALL)
_STYLE = re.compile(r"\x1b\[([0-9;:]*)m")
_MOVE = re.compile(r"\x1b\[(?:(\d+);(\d+))?H")
_SYNCHRONISED = ("\x1b[?2026h", "\x1b[?2026l")
_OTHER_PAGE, _OWN_PAGE = "\x1b[?1049h", "\x1b[?1049l"
_OLD_MODES = (_OTHER_PAGE, _OWN_PAGE, "\x1b[?25h", "\x1b[?25l", "\x1b[?7h", "\x1b[?7l")
_OLD_STYLES = ("1", "4", "7")  # bold, underlined, reversed
_JUMP = 4  # cells that are written again, as another move costs more
CELLS_MOST = 1000  # in a line, and lines
_ASCII: Mapping[str, str] = {
    **dict.fromkeys("─━═▔▁", "-"), **dict.fromkeys("│┃▊▎▏", "|"), **dict.fromkeys("┌┐└┘├┤┬┴┼", "+"), "…": "~",
    **dict.fromkeys("▂▃▄▅▆▇█▉▋▌▍", "#"), "▼": "v", "▲": "^", "↑": "^", "↓": "v", "•": "*",
}  # fmt: skip


class Cell(NamedTuple):
    """What stands in a cell; "" behind a wide character, which takes two."""

    text: str = " "
    style: str = ""


class Canvas:
    """A terminal of any size. `is_ascii`: it has no other characters; `is_old`: no colours and few modes either."""

    def __init__(self, *, is_ascii: bool = False, is_old: bool = False) -> None:
        self._is_ascii = is_ascii
        self._is_old = is_old
        self._wanted: dict[int, list[Cell]] = {}
        self._shown: dict[int, list[Cell | None]] = {}
        self._dirty: dict[int, None] = {}  # lines, those first that have waited longest
        self._row = self._column = 0
        self._style = ""

    def feed(self, data: str) -> str:
        """Take what is to be shown; return what is to be written at once, as it is no text."""
        through = list[str]()
        for piece in _PIECE.findall(data):
            if piece[0] not in "\x1b\r\n":
                self._write(piece)
            elif piece == "\n":
                self._row, self._column = self._row + 1, 0
            elif piece == "\r":
                self._column = 0
            elif move := _MOVE.fullmatch(piece):
                self._row, self._column = int(move[1] or 1) - 1, int(move[2] or 1) - 1
            elif style := _STYLE.fullmatch(piece):
                self._style = self._styled(style[1])
            elif piece not in _SYNCHRONISED and (not self._is_old or piece in _OLD_MODES):
                through.append(piece)
                if piece == _OTHER_PAGE:
                    through.append("\x1b[2J")
                if piece in (_OTHER_PAGE, _OWN_PAGE):
                    self._wanted, self._shown, self._dirty = {}, {}, {}
        return "".join(through)

    def resize(self, width: int, height: int) -> None:
        """Take it that the terminal has another size, and that nothing is known of what it shows."""
        self._wanted = {row: cells[:width] for row, cells in self._wanted.items() if row < height}
        self._shown = {}
        self._dirty = dict.fromkeys(self._wanted)

    def changes(self) -> str:
        """Return what makes one line of the terminal as it is to be; empty if all are."""
        while self._dirty:
            row = next(iter(self._dirty))
            del self._dirty[row]
            if written := self._changes_of(row):
                return written
        return ""

    def _changes_of(self, row: int) -> str:
        wanted, shown = self._wanted[row], self._shown.setdefault(row, [])
        shown += [None] * (len(wanted) - len(shown))
        written, pen, at = list[str](), "", -1  # at: where the terminal's cursor stands, if that is known
        for column, cell in enumerate(wanted):
            if cell == shown[column]:
                continue
            if cell.text:
                between = wanted[at:column] if 0 <= at <= column <= at + _JUMP else [Cell("", "?")]
                if all(one.style == pen and one.text and one.text.isascii() for one in between):
                    written += [one.text for one in between]
                else:
                    written.append(f"\x1b[{row + 1};{column + 1}H")
                if cell.style != pen:
                    written.append(("\x1b[0m" if pen else "") + cell.style)
                    pen = cell.style
                written.append(cell.text)
                is_wide = column + 1 < len(wanted) and not wanted[column + 1].text
                at = -1 if is_wide or (not cell.text.isascii() and len(cell.text) > 1) else column + 1
            shown[column] = cell
        if pen:
            written.append("\x1b[0m")
        return "".join(written)

    def _styled(self, parameters: str) -> str:
        if parameters in ("", "0"):
            return ""
        if self._is_old:
            parameters = ";".join(one for one in parameters.split(";") if one in _OLD_STYLES)
        return self._style + (f"\x1b[{parameters}m" if parameters else "")

    def _write(self, text: str) -> None:
        if not 0 <= self._row < CELLS_MOST:
            return
        line = self._wanted.setdefault(self._row, [])
        self._dirty.setdefault(self._row)
        for character in text:
            if self._is_ascii and not character.isascii():
                width = get_character_cell_size(character)
                drawn = (_ASCII.get(character, "?") * width)[:width]
                for one in drawn:
                    self._put(line, Cell(one, self._style))
                continue
            width = get_character_cell_size(character)
            if width == 0:
                if 0 < self._column <= len(line) and not self._is_ascii and character.isprintable():
                    at = self._column - (1 if line[self._column - 1].text else 2)  # that of a wide one, too
                    line[at] = line[at]._replace(text=line[at].text + character)
                continue
            self._put(line, Cell(character, self._style))
            if width == 2:
                self._put(line, Cell("", self._style))

    def _put(self, line: list[Cell], cell: Cell) -> None:
        """Put a cell; of a wide character that it halves the other half is empty, as on a terminal."""
        at = self._column
        if at < CELLS_MOST:
            line += [Cell()] * (at + 1 - len(line))
            if cell.text and not line[at].text and at:
                line[at - 1] = line[at - 1]._replace(text=" ")
            if at + 1 < len(line) and not line[at + 1].text:
                line[at + 1] = line[at + 1]._replace(text=" ")
            line[at] = cell
        self._column += 1
