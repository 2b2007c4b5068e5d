"""A query over several logs: its filters, its cursor, and how pages of logs become one page ordered by time. Pure.

Pages go backwards: the newest entries first asked for, then what is before. A cursor says until when all has been
given, in microseconds, and how many of each log have been given of that very moment; of the journal it has a cursor of
its own as well. A log of which only a part was looked through, as its filter let too little pass, holds up the others:
nothing before that part is given until it was looked through.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypedDict

from tlsrt import InvalidArgument

SOURCES = ("journal", "logs", "audit")
TEXT_MOST = 4096  # characters of one entry
LIMIT_MOST = 500
ANSWER_BYTES = 160 * 1024  # of the entries of one page, as UTF-8: a body has at most 256 KiB
_ENTRY_BYTES = 160  # of one entry without its texts, on the wire
CURSOR_MOST = 8192
_SHOWN_ERROR = 60
NAME_MOST = 128
_STEP_US = 1000  # what a log of milliseconds can tell apart
_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[0-9T :.+Z-]{0,24}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
JOURNAL_CURSOR = re.compile(r"[0-9a-z=;]{1,512}")


class Entry(TypedDict):
    """One entry as a caller gets it; null is what the log does not say."""

    at_ms: int  # wall time
    source: str  # journal, logs or audit
    unit: str | None  # of systemd
    component: str | None  # a component or process of the host; of the journal who has logged, by its own word
    priority: int | None  # 0 (emerg) to 7 (debug), as of syslog
    text: str  # printable, without an end of line
    is_cut: bool  # there was more of it


class Found(NamedTuple):
    """An entry of one log; the order among those of one moment is that of the log."""

    at_us: int
    entry: Entry
    cursor: str = ""  # of the journal


class Page(NamedTuple):
    """What one log has given, the newest first."""

    found: Sequence[Found]
    looked_to_us: int | None  # all after this moment was looked through; None: all that there is, or `limit` was found
    journal: str = ""  # the cursor of the oldest entry that was looked through and did not pass


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted. Raises InvalidArgument."""

    since_us: int = 0
    until_us: int | None = None
    unit: str = ""
    component: str = ""
    priority: int | None = None
    text: str = ""
    _text: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "_text", self.text.casefold())
        for name, value in (("unit", self.unit), ("component", self.component)):
            if len(value) > NAME_MOST or not value.isprintable():
                raise InvalidArgument(f"{name} is no name: say one line of at most {NAME_MOST} characters")
        if self.until_us is not None and self.until_us < self.since_us:
            raise InvalidArgument("until is before since: exchange them")

    def wants(self, entry: Entry, at_us: int, unsaid: int) -> bool:
        """Tell whether an entry is wanted; `unsaid` is the priority of one that says none."""
        if at_us < self.since_us or (self.until_us is not None and at_us > self.until_us):
            return False
        if self.unit and entry["unit"] != self.unit:
            return False
        if self.component and not is_within(entry["component"] or "", self.component):
            return False
        if self.priority is not None:
            said = entry["priority"]
            if (unsaid if said is None else said) > self.priority:
                return False
        return self._text in entry["text"].casefold()

    def asks(self, source: str) -> bool:
        """Tell whether entries of a source can pass."""
        return not (self.unit and source != "journal")


def is_within(name: str, wanted: str) -> bool:
    """Tell whether a name is the one that is wanted, or a part of that loop, component or process."""
    return name == wanted or name.startswith((f"{wanted}.", f"{wanted}/"))


def moment_us(text: str, now_us: int, what: str) -> int:
    """Return what `15m`, a date with time, or milliseconds since 1970 mean. Raises InvalidArgument."""
    if ago := _AGO.fullmatch(text):
        return max(0, now_us - int(ago[1]) * _SECONDS[ago[2]] * 1_000_000)
    if text.isascii() and text.isdecimal() and 11 <= len(text) <= 15:
        return int(text) * 1000
    try:
        when = datetime.fromisoformat(text if _DATE.fullmatch(text) else "")
    except ValueError:
        shown = ascii(text[:_SHOWN_ERROR])
        raise InvalidArgument(
            f"{what} {shown} is no time: say 15m (s, m, h, d), 2026-12-01T20:00 (UTC), or milliseconds since 1970"
        ) from None
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return max(0, int(when.timestamp() * 1_000_000))


@dataclass(frozen=True, slots=True)
class Position:
    """How far back all logs were given; `skip` counts what was given of the moment `at_us`, by log."""

    at_us: int | None = None  # None: nothing was given yet
    skip: Mapping[str, int] = field(default_factory=dict[str, int])
    journal: str = ""  # the cursor of the oldest entry that was given

    def text(self) -> str:
        """Return it as one word."""
        data = json.dumps([1, self.at_us, dict(self.skip), self.journal], separators=(",", ":"))
        return base64.urlsafe_b64encode(data.encode()).decode().rstrip("=")


def position_untrusted(text: str) -> Position:
    """Return the position that a caller names. Raises InvalidArgument."""
    if not text:
        return Position()
    wrong = InvalidArgument("the cursor is none of this service: take the one of the answer before, as it is")
    if len(text) > CURSOR_MOST or not text.isascii():
        raise wrong
    try:
        data: Any = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise wrong from None
    if type(data) is not list or len(data) != 4 or type(data[0]) is not int or data[0] != 1:
        raise wrong
    _, at, skip, journal = data
    is_typed = type(at) is int and 0 <= at < 1 << 60 and type(skip) is dict and type(journal) is str
    if not is_typed or any(type(one) is not int or not 0 <= one <= 1 << 20 for one in skip.values()):
        raise wrong
    if journal and JOURNAL_CURSOR.fullmatch(journal) is None:
        raise wrong
    return Position(at, skip, journal)


class Merged(NamedTuple):
    """One page of all logs, the oldest entry first, and where to go on; None: there is nothing before it."""

    entries: list[Entry]
    position: Position | None
    held_up_by: str  # the log that has more of one moment than is looked through; some of that is left out


def merge(pages: Mapping[str, Page], before: Position, limit: int) -> Merged:
    """Make one page of the pages of all logs, each of which was asked for `limit` entries from `before` on."""
    held = [(page.looked_to_us, log) for log, page in pages.items() if page.looked_to_us is not None]
    horizon, holder = max(held, default=(-1, ""))
    numbered = ((log, number, found) for log, page in pages.items() for number, found in enumerate(page.found))
    rows = sorted(((-found.at_us, log, number, found) for log, number, found in numbered), key=lambda row: row[:3])
    taken: list[tuple[str, Found]] = []
    room = ANSWER_BYTES
    for _, log, _, found in rows:
        room -= _ENTRY_BYTES + len(found.entry["text"].encode())
        if len(taken) >= limit or found.at_us <= horizon or (room < 0 and taken):
            break
        taken.append((log, found))
    entries = [found.entry for _, found in reversed(taken)]
    if len(taken) == len(rows) and holder == "":
        is_full = any(len(page.found) >= limit for page in pages.values())
        return Merged(entries, _after(taken, before, pages) if is_full and taken else None, "")
    if len(taken) < limit and len(taken) < len(rows) and room < 0:
        return Merged(entries, _after(taken, before, pages), "")
    if len(taken) >= limit or holder == "":
        return Merged(entries, _after(taken, before, pages), "")
    if before.at_us is not None and horizon >= before.at_us:  # no step forward: leave that moment out
        return Merged(entries, _at(before.at_us - _STEP_US, taken, before, pages), holder)
    return Merged(entries, _at(horizon, taken, before, pages), "")


def _after(taken: Sequence[tuple[str, Found]], before: Position, pages: Mapping[str, Page]) -> Position:
    """Return the position after the oldest entry that was taken."""
    at = taken[-1][1].at_us
    skip = dict(before.skip) if at == before.at_us else {}
    for log, found in taken:
        if found.at_us == at:
            skip[log] = skip.get(log, 0) + 1
    return Position(at, skip, _journal(taken, before, pages))


def _at(at_us: int, taken: Sequence[tuple[str, Found]], before: Position, pages: Mapping[str, Page]) -> Position:
    return Position(max(0, at_us), {}, _journal(taken, before, pages))


def _journal(taken: Sequence[tuple[str, Found]], before: Position, pages: Mapping[str, Page]) -> str:
    """Return the cursor from which the journal goes on: nothing that was not given lies after it."""
    page = pages.get("journal")
    given = [found.cursor for log, found in taken if log == "journal"]
    if page is not None and len(given) == len(page.found) and page.journal:
        return page.journal
    return given[-1] if given else before.journal
