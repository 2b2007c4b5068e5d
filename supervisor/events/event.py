"""One event of a host, and its line of JSON for followers, components and logs. Pure.

Whatever words come from outside (names of clients, registers of a call, an exception's text) are cut and made
harmless here: an event is one line, and steers no terminal. Keys and tokens are no fields of events; a session is
named by the first bytes of its id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tlsrt.supervisor.events.event_kinds import EventName
from tlsrt.text import sentence

SUBJECT_MAX = 80  # characters, as of a subject in PROTOCOL.md
WORDS_MAX = 512
FIELDS_MAX = 12
FIELD_MAX = 256
LINE_MAX = 16 * 1024  # bytes of JSON: a character costs at most 12 there, so the bounds above reach a bit further

Field = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class HostEvent:
    """What happened, when, and to whom."""

    seq: int  # from 1, for one life of the host
    wall_ms: int
    boottime_ms: int
    boot: str
    name: EventName
    subject: str
    words: str
    fields: Mapping[str, Field]
    _lines: list[bytes] = field(default_factory=list[bytes], repr=False, compare=False)

    @property
    def sentence(self) -> str:
        return f"{self.name.sentence}: {self.words}" if self.words else self.name.sentence

    @property
    def line(self) -> bytes:
        """Return the event as one line of JSON, with its newline; made once, when it is first wanted."""
        if not self._lines:
            document = self.document()
            line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
            if len(line) > LINE_MAX:
                line = json.dumps({**document, "fields": {}}, separators=(",", ":")).encode() + b"\n"
            self._lines.append(line)
        return self._lines[0]

    def document(self) -> dict[str, object]:
        """Return the event as plain values."""
        return {
            "seq": self.seq,
            "at": wall_text(self.wall_ms),
            "boottime_ms": self.boottime_ms,
            "boot": self.boot,
            "kind": str(self.name.kind),
            "severity": str(self.name.severity),
            "name": self.name.name,
            "subject": self.subject,
            "sentence": self.sentence,
            "fields": dict(self.fields),
        }


def printable_fields(fields: Mapping[str, object]) -> dict[str, Field]:
    """Return the first fields, with their strings printable, and what is no plain value as words."""
    return {sentence(name, SUBJECT_MAX): _plain(fields[name]) for name in list(fields)[:FIELDS_MAX]}


def _plain(value: object) -> Field:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 64 else None
    return sentence(value if isinstance(value, str) else str(value), FIELD_MAX)


def wall_text(wall_ms: int) -> str:
    """Return a wall time in ms as ISO 8601 in UTC with milliseconds."""
    when = datetime.fromtimestamp(wall_ms / 1000, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{wall_ms % 1000:03d}Z"
