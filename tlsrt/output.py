"""Results of calls, for people and as JSON. Pure.

What a host sends may hold any characters; what could drive a terminal is shown as an escape.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tlsrt.text import printable, table

INDENT = "  "
WIDE = 60  # characters of a cell in a table


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON; bytes become base64 text."""
    return json.dumps(plain(value), ensure_ascii=False, indent=indent)


def plain(value: object) -> object:
    """Return a value that JSON can hold: bytes are base64 text, NaN and infinity null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def to_text(value: object) -> str:
    """Return a result for people, without a newline at its end."""
    if isinstance(value, str):
        return printable(value, keep="\n\t")
    return "\n".join(_lines(value))


def to_line(value: object) -> str:
    """Return one item of a stream as one line."""
    return printable(value) if isinstance(value, str) else printable(to_json(value))


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return _pairs(value)
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, Mapping) for item in value):
            return records(value)
        return [line for item in value for line in ([_cell(item)] if _is_small(item) else _lines(item))]
    return [_cell(value)]


def _pairs(pairs: Mapping[Any, Any]) -> list[str]:
    width = max((len(printable(str(key))) for key, value in pairs.items() if _is_small(value)), default=0)
    lines: list[str] = []
    for key, value in pairs.items():
        name = printable(str(key)) + ":"
        if _is_small(value):
            lines.append(f"{name:<{width + 1}} {_cell(value)}".rstrip())
        else:
            lines.append(name)
            lines += [INDENT + line for line in _lines(value)]
    return lines


def records(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return maps as aligned columns under their keys; numbers stand right."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_short(_cell(row[name])) if name in row else "" for name in names] for row in rows]
    right = {str(name) for name in names if all(_is_number(row.get(name)) for row in rows)}
    return table([[str(name) for name in names], *cells], right)


def _is_small(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) <= 8 and all(not isinstance(item, (list, tuple, Mapping)) for item in value)
    return not isinstance(value, Mapping) or not value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(text: str) -> str:
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes: {value[:16].hex()}{'…' if len(value) > 16 else ''}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return "-" if not value else printable(to_json(value))
    return printable(str(value))
