"""Tables that fit a terminal: what matters least is left out, and a last line says how to see it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from tlsrt.command_line.folding import columns_of
from tlsrt.text import GAP, printable, table

_WIDTH: ContextVar[int | None] = ContextVar("width", default=None)
_CUT = "…"
_LEAST_CUT = 20  # characters that a column which may be cut keeps


@contextmanager
def shown_at(width: int | None) -> Iterator[None]:
    """Let tables fit `width` columns meanwhile; None is for all that there is."""
    token = _WIDTH.set(width)
    try:
        yield
    finally:
        _WIDTH.reset(token)


def is_wide(arguments: argparse.Namespace) -> bool:
    """Tell whether all columns are wanted; a verb without `--wide` has no others."""
    return bool(getattr(arguments, "wide", True))


def terminal_width(*, is_wide: bool) -> int | None:
    """Return the columns that tables have: those of a terminal, or None for a pipe, a file and `--wide`."""
    return None if is_wide else columns_of(sys.stdout)


def fitted_table(
    rows: Sequence[Sequence[str]], right: Container[str] = (), *, least: Sequence[str] = (), cut: str = ""
) -> list[str]:
    """Return a table within the width that is to be shown: columns of `least` go, in that order, and `cut` is cut."""
    width = _WIDTH.get()
    if width is None:
        return table(rows, right)
    cells = [[printable(cell) for cell in row] for row in rows]
    titles = list(cells[0])
    widths = {title: max(len(row[at]) for row in cells) for at, title in enumerate(titles)}
    least_width = {title: min(size, _LEAST_CUT) if title == cut else size for title, size in widths.items()}
    kept = list(titles)
    for title in least:
        if _sum(kept, least_width) > width:
            kept.remove(title)
    if cut:
        others = [title for title in kept if title != cut]
        widths[cut] = min(widths[cut], max(least_width[cut], width - _sum(others, widths) - len(GAP)))
    shown = [[_within(row[titles.index(title)], widths[title]) for title in kept] for row in cells]
    lines = [_within(line, width) for line in table(shown, right)]
    is_whole = kept == titles and lines == table(cells, right)
    return lines if is_whole else [*lines, _left_out([title for title in titles if title not in kept], width)]


def _sum(titles: Sequence[str], widths: dict[str, int]) -> int:
    return sum(widths[title] for title in titles) + len(GAP) * (len(titles) - 1)


def _within(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + _CUT


def _left_out(titles: Sequence[str], width: int) -> str:
    return _within(f"(--wide has {', '.join(titles)} too)" if titles else "(--wide has the whole lines)", width)
