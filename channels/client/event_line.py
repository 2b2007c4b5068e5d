"""One event of a host as one line of text. Pure.

A client hears events from Primary, which may be captured: whatever is not as it should be is shown, escaped, and
raises nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsrt.text import printable, sentence

_COLOURS = {"warning": "\x1b[33m", "alarm": "\x1b[31m"}
_END = "\x1b[0m"
_NAME_WIDTH = 19  # most names are not longer


def is_coloured(is_terminal: bool, environment: Mapping[str, str]) -> bool:
    """Whether to use colours: on a terminal that can, without NO_COLOR (no-color.org)."""
    return is_terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def event_line(event: Mapping[str, Any], *, colour: bool) -> str:
    """Return one event, or a gap."""
    if "dropped" in event:
        count = printable(str(event["dropped"]))
        return f"... {count} events are missing here: they came faster than they were read, or long ago"
    name = _text(event, "name").ljust(_NAME_WIDTH)
    paint = _COLOURS.get(_text(event, "severity"), "") if colour else ""
    given = event.get("fields")
    pairs = given.items() if isinstance(given, Mapping) else ()
    fields = ", ".join(f"{field} {value}" for field, value in pairs if value is not None)
    said = sentence(f"{event.get('sentence', '')}{f' ({fields})' if fields else ''}")
    return (
        f"{_text(event, 'at')} {_text(event, 'seq'):>5} {_text(event, 'kind'):<9} {paint}{name}"
        f"{_END if paint else ''} {_text(event, 'subject'):<10} {said}"
    ).rstrip()


def _text(event: Mapping[str, Any], field: str) -> str:
    return sentence(str(event.get(field, "-")))
