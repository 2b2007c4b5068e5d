"""`events --timeline`: a lane for each subject over the time of the events, and the events below it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tlsrt.text import duration, printable, sentence

_MARKS = {"info": "o", "warning": "w", "alarm": "!"}
_ORDER = ".ow!"  # of marks in one column the last counts
_NAME_MOST = 20
_LANES_MOST = 30
_DAY_S = 86_400


class _Point(NamedTuple):
    at: float
    mark: str
    subject: str
    name: str
    words: str


def timeline_lines(events: Iterable[Mapping[str, Any]], width: int) -> list[str]:
    """Return lanes and events within `width` columns, in order of time."""
    kept = [*events]
    points = sorted((found for event in kept if (found := _point(event)) is not None), key=lambda one: one.at)
    missing = sum(int(one["dropped"]) for one in kept if isinstance(one.get("dropped"), int))
    lines = [*_lanes(points, width), "", *_below(points, width)] if points else ["no events"]
    return [*lines, *([f"... {missing} events are missing"] if missing else [])]


def _lanes(points: Sequence[_Point], width: int) -> list[str]:
    subjects = list(dict.fromkeys(one.subject for one in points))
    lanes = subjects[:_LANES_MOST]
    head = max(map(len, lanes))
    room = max(10, width - head - 2)
    begin, span_s = points[0].at, points[-1].at - points[0].at
    first, last = _clock(begin, span_s), _clock(points[-1].at, span_s)
    drawn = {lane: ["."] * room for lane in lanes}
    for one in points:
        if one.subject in drawn:
            at = min(room - 1, int((one.at - begin) / span_s * room)) if span_s > 0 else 0
            drawn[one.subject][at] = max(drawn[one.subject][at], one.mark, key=_ORDER.index)
    found = [
        f"{len(points)} events in {duration(span_s)}, "
        f"a column is {duration(span_s / room)}; o info, w warning, ! alarm",
        f"{'':<{head}}  {first}{last.rjust(max(0, room - len(first)))}",
        *(f"{lane:<{head}}  {''.join(drawn[lane])}" for lane in lanes),
    ]
    if len(subjects) > len(lanes):
        found.append(f"and {len(subjects) - len(lanes)} more subjects")
    return [_within(line, width) for line in found]


def _below(points: Sequence[_Point], width: int) -> list[str]:
    """Return a line for each event: when, how long after the one before, how severe, of whom, what."""
    span_s = points[-1].at - points[0].at
    head = max(len(one.subject) for one in points)
    before, found = points[0].at, list[str]()
    for one in points:
        after = f"+{duration(one.at - before)}"
        before = one.at
        line = f"{_clock(one.at, span_s)}  {after:>13}  {one.mark}  {one.subject:<{head}}  {one.name}: {one.words}"
        found.append(_within(line, width))
    return found


def _point(event: Mapping[str, Any]) -> _Point | None:
    try:
        at = datetime.fromisoformat(str(event["at"])).timestamp()
    except (KeyError, ValueError, OverflowError, OSError):
        return None
    mark = _MARKS.get(str(event.get("severity")), "o")
    subject = printable(str(event.get("subject") or "-"), _NAME_MOST)
    return _Point(
        at, mark, subject, printable(str(event.get("name")), 40), sentence(str(event.get("sentence", "")), 500)
    )


def _clock(at: float, span_s: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):{'%m-%d %H:%M' if span_s > _DAY_S else '%H:%M:%S'}}"


def _within(line: str, width: int) -> str:
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"
