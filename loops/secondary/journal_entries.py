"""Entries of the journal, in the JSON of systemd-journal-gatewayd, for a caller. Pure.

A value is a string; an array of bytes, where it is not printable UTF-8; null, where it is long; or an array of these,
where the entry has the field several times (systemd.journal-fields(7), "Journal JSON Format").
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tlsrt.loops.secondary.log_query import JOURNAL_CURSOR, Entry, Found
from tlsrt.loops.secondary.log_text import shown

LINE_BYTES = 256 * 1024  # of one entry with all its fields
_NAME_MOST = 128
_LONG = "(too long for the gateway)"


class JournalLine(NamedTuple):
    """One line of an answer; None for what is none of the journal."""

    found: Found | None
    why: str = ""


def read_line_untrusted(line: bytes) -> JournalLine:
    """Return the entry in a line, or why there is none. Cannot fail."""
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError):
        return JournalLine(None, "a line is no JSON")
    if type(fields) is not dict:
        return JournalLine(None, "a line is no entry")
    cursor, at = fields.get("__CURSOR"), fields.get("__REALTIME_TIMESTAMP")
    if type(cursor) is not str or JOURNAL_CURSOR.fullmatch(cursor) is None:
        return JournalLine(None, "an entry has no cursor")
    if type(at) is not str or not at.isascii() or not at.isdecimal() or len(at) > 17:
        return JournalLine(None, "an entry has no time")
    message = fields.get("MESSAGE", "")
    text, is_cut = (_LONG, True) if message is None else shown(_text(message))
    who = _name(fields.get("SYSLOG_IDENTIFIER")) or _name(fields.get("_COMM"))
    unit = _name(fields.get("_SYSTEMD_UNIT")) or _name(fields.get("UNIT"))
    entry = Entry(
        at_ms=int(at) // 1000, source="journal", unit=unit, component=who, priority=_priority(fields.get("PRIORITY")),
        text=text, is_cut=is_cut,
    )  # fmt: skip
    return JournalLine(Found(int(at), entry, cursor))


def _text(value: object, depth: int = 2) -> str:
    """Return the text of a value, or of several: what lies deeper is none of the journal's."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and depth:
        if all(type(one) is int and 0 <= one < 256 for one in value):
            return bytes(value).decode(errors="replace")
        return "; ".join(_text(one, depth - 1) for one in value[:16] if not isinstance(one, int))
    return ""


def _name(value: object) -> str | None:
    text = _text(value) if isinstance(value, str | list) else ""
    return shown(text, _NAME_MOST)[0] or None


def _priority(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value in set("01234567") else None
