"""Samples: what processes say of their metrics, checked against the table. Pure.

On the way they are JSON: family -> rows of labels and a value; the value of a histogram is the counts of its buckets
and a sum, that of a summary a count and a sum. Bytes of a process are taken as those of one that is captured: what the
table does not list for it, and what is no number or no text that can be printed, is left out and counted: readers
refuse all of a text for one label with a NUL, and two labels that UTF-8 cannot carry would be the same one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from tlsrt.channels.control.figures import BUCKETS
from tlsrt.errors import PeerError
from tlsrt.supervisor.metrics.families import FAMILIES, Family, Kind, Source

LABEL_MAX = 128  # characters
ROWS_MAX = 4096  # of one process, all families together; the supervisor has no limit

Value = float | tuple[float, ...]
Row = tuple[str, tuple[str, ...], Value]  # family, labels, value


def decode_untrusted(data: bytes, source: Source, process: str = "") -> tuple[list[Row], int]:
    """Return what a process says, and how much of it was left out. Raises PeerError for what is no such text.

    `process`, if given, is the first label of what it says: no process speaks of another one.
    """
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        raise PeerError("not_json") from None
    if not isinstance(tree, dict):
        raise PeerError("not_figures")
    most = math.inf if source is Source.SUPERVISOR else ROWS_MAX
    rows: dict[tuple[str, tuple[str, ...]], Value] = {}
    refused = 0
    for name, entry in _entries(tree):
        family = FAMILIES.get(name)
        row = _row_untrusted(family, entry, process) if family is not None and _may(family, source) else None
        if row is None or row[:2] in rows or len(rows) >= most:
            refused += 1
        else:
            rows[row[:2]] = row[2]
    return [(name, labels, value) for (name, labels), value in rows.items()], refused


_MORE = {Source.PRIMARY: (Source.PROCESS, Source.DOOR), Source.DOOR: (Source.PROCESS,)}


def _may(family: Family, source: Source) -> bool:
    return family.source is source or family.source in _MORE.get(source, ())


def _entries(tree: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, rows in tree.items():
        for entry in rows if isinstance(rows, list) else [None]:
            yield name, entry


def _row_untrusted(family: Family, entry: Any, process: str) -> Row | None:
    """Return a row, None for what is none of this family."""
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], list):
        return None
    labels = (process, *entry[0]) if process and family.labels[:1] == ("process",) else (*entry[0],)
    if len(labels) != len(family.labels) or not all(isinstance(one, str) and one.isprintable() for one in labels):
        return None
    value = _value(family, entry[1])
    return None if value is None else (family.name, tuple(one[:LABEL_MAX] for one in labels), value)


def _value(family: Family, value: Any) -> Value | None:
    is_counted = family.kind is not Kind.GAUGE
    if family.kind in (Kind.HISTOGRAM, Kind.SUMMARY):
        most = BUCKETS + 1 if family.kind is Kind.HISTOGRAM else 2
        if not isinstance(value, list) or len(value) != most or not all(_is_number(one, is_counted) for one in value):
            return None
        return tuple(value)
    return value if _is_number(value, is_counted) else None


def _is_number(value: Any, is_counted: bool) -> bool:
    if type(value) is int:
        return abs(value) < 1 << 63 and (value >= 0 or not is_counted)
    return type(value) is float and math.isfinite(value) and (value >= 0 or not is_counted)
