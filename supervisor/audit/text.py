"""What people and peers said, as it may stand in the log: printable ASCII, escaped, and never long. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KIND_MAX: Final = 48
SUBJECT_MAX: Final = 160
NAME_MAX: Final = 48
VALUE_MAX: Final = 256
PAIRS_MAX: Final = 16
INTEGER_MAX: Final = (1 << 63) - 1
_CUT: Final = "..."

Detail = Mapping[str, str | int]


def escaped(text: str, limit: int) -> str:
    r"""Return text in printable ASCII: a backslash is `\\`, anything else `\xNN`, `\uNNNN` or `\UNNNNNNNN`.

    A text that is longer than `limit` then ends with `...`, and never within an escape.
    """
    if text.isascii() and text.isprintable() and "\\" not in text and len(text) <= limit:
        return text
    pieces = [_escape(character) for character in text[: limit + 1]]
    length = sum(map(len, pieces))
    if length <= limit and len(text) <= limit:
        return "".join(pieces)
    while length > limit - len(_CUT):
        length -= len(pieces.pop())
    return "".join(pieces) + _CUT


def is_plain(text: str, limit: int) -> bool:
    """Tell whether a text could have come out of `escaped`."""
    return len(text) <= limit and text.isascii() and (text == "" or text.isprintable())


def plain_detail(detail: Detail) -> tuple[tuple[str, str | int], ...]:
    """Return details as they may stand in the log: sorted by name, each escaped and capped, and not too many."""
    pairs = sorted(detail.items())[:PAIRS_MAX]
    return tuple((escaped(name, NAME_MAX), _plain(value)) for name, value in pairs)


def _plain(value: str | int) -> str | int:
    if isinstance(value, str):
        return escaped(value, VALUE_MAX)
    return max(-INTEGER_MAX, min(int(value), INTEGER_MAX))


def _escape(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0x20 <= code < 0x7F:
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
