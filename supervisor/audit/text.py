"""What people and peers said, as it may stand in the log: printable ASCII, escaped, and never long. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tlsrt.text import ascii_only

KIND_MAX: Final = 48
SUBJECT_MAX: Final = 160
NAME_MAX: Final = 48
VALUE_MAX: Final = 256
PAIRS_MAX: Final = 16
INTEGER_MAX: Final = (1 << 63) - 1

Detail = Mapping[str, str | int]


def is_plain(text: str, limit: int) -> bool:
    """Tell whether a text could have come out of `ascii_only`."""
    return len(text) <= limit and text.isascii() and (text == "" or text.isprintable())


def plain_detail(detail: Detail) -> tuple[tuple[str, str | int], ...]:
    """Return details as they may stand in the log: sorted by name, each escaped and capped, and not too many."""
    pairs = sorted(detail.items())[:PAIRS_MAX]
    return tuple((ascii_only(name, NAME_MAX), _plain(value)) for name, value in pairs)


def _plain(value: str | int) -> str | int:
    if isinstance(value, str):
        return ascii_only(value, VALUE_MAX)
    return max(-INTEGER_MAX, min(int(value), INTEGER_MAX))
