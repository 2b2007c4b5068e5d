"""Text for people: harmless lines of what a peer has sent, tables, durations and sizes. Pure.

What comes from a peer may hold any characters. Here everything that could steer a terminal, or stand for the end of a
line, becomes an escape; and what has a bound is cut with a mark, never within an escape.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import Final

GAP: Final = "  "  # between two columns
QUOTED_MAX: Final = 60  # characters
TEN_YEARS_S: Final = 10 * 365 * 86_400.0
_CUT: Final = "…"
_ASCII_CUT: Final = "..."
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)")
_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_STEPS: Final = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def printable(text: str, most: int | None = None, *, keep: str = "") -> str:
    r"""Return text as one line of at most `most` characters, with escapes (`\n`, `\x1b`).

    The characters of `keep` stay as they are.
    """
    if text.isprintable() and (most is None or len(text) <= most):
        return text
    bounded = text if most is None else text[: most + 1]
    pieces = [one if one.isprintable() or one in keep else _escape(one) for one in bounded]
    return _joined(pieces, most, _CUT)


def sentence(text: str, most: int | None = None) -> str:
    """Return a message as one printable line: what were its lines are parted by semicolons."""
    return printable(text.replace("\n", "; "), most)


def quoted(text: str, most: int = QUOTED_MAX) -> str:
    """Return text in quotes, printable, with at most `most` of its characters."""
    return repr(text if len(text) <= most else text[: most - 1] + _CUT)


def ascii_only(text: str, most: int | None = None) -> str:
    r"""Return text in printable ASCII: a backslash is `\\`, the rest `\xNN`, `\uNNNN`, `\UNNNNNNNN`.

    This is the form of every string in the audit log, and of every name in a measurement. No two texts have the same.
    """
    if text.isascii() and text.isprintable() and "\\" not in text and (most is None or len(text) <= most):
        return text
    bounded = text if most is None else text[: most + 1]
    return _joined([_ascii(character) for character in bounded], most, _ASCII_CUT)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean X?` for the known word nearest to `word`, or an empty text."""
    import difflib  # only a mistake pays for it

    found = difflib.get_close_matches(word[:200], list(known), n=1, cutoff=0.5)
    return f", did you mean {found[0]}?" if found else ""


def table(rows: Sequence[Sequence[str]], right: Container[str] = ()) -> list[str]:
    """Return rows of equal length as aligned lines. The columns whose titles (first row) are in `right` stand right."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_right = [title in right for title in rows[0]] if rows else []
    return [
        GAP.join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(row, widths, is_right, strict=True)
        ).rstrip()
        for row in cells
    ]


def duration(seconds: float) -> str:
    """Return a span of time in at most two units, as `3 d 4 h`, `2 min 5 s` or `1.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    size_s, unit, smaller_s, smaller = next(step for step in _STEPS if whole >= step[0])
    return f"{whole // size_s} {unit} {whole % size_s // smaller_s} {smaller}"


def parse_duration(
    text: str, *, least_s: float = 0.001, most_s: float = TEN_YEARS_S, has_default_unit: bool = False
) -> float:
    """Return the seconds in `90s`, `15m`, `2h` or `7d`. Raise ValueError, with its sentence, for others.

    With `has_default_unit`, a number without a unit means seconds.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not (match[2] or has_default_unit):
        raise ValueError(f'invalid duration "{printable(text, QUOTED_MAX)}": use 90s, 15m, 2h or 7d')
    seconds = float(match[1]) * _UNITS_S[match[2]]
    if not least_s <= seconds <= most_s:
        bound = f"at least {duration(least_s)}" if seconds < least_s else f"at most {duration(most_s)}"
        raise ValueError(f'invalid duration "{text}": use {bound}')
    return seconds


def size(count: float) -> str:
    """Return a number of bytes, as `512 B`, `1.5 KiB` or `120 MiB`."""
    unit = 0
    while count >= 1024 and unit < len(_SIZES) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} {_SIZES[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {_SIZES[unit]}"


def _joined(pieces: list[str], most: int | None, mark: str) -> str:
    length = sum(map(len, pieces))
    if most is None or length <= most:
        return "".join(pieces)
    while length > most - len(mark):
        length -= len(pieces.pop())
    return "".join(pieces) + mark


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def _ascii(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0x20 <= code < 0x7F:
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
