"""Entries as lines of JSON on a descriptor, for hosts in a container: one document a line."""

from __future__ import annotations

import json
import os
import select

from tlsrt.supervisor.events.event import wall_text
from tlsrt.supervisor.events.log_entry import WORDS, LogEntry

LINE_BYTES = 4096  # PIPE_BUF: so much a pipe that polls writable takes without blocking, and as one piece; pipe(7)


def encode_json(entry: LogEntry) -> bytes:
    """Return an entry as one line. What makes it too long for a pipe is cut out: fields, then the end of its words."""
    document: dict[str, object] = {
        "at": wall_text(entry.at_ms), "severity": WORDS[entry.priority], "message": entry.message,
        "event": entry.event, "subject": entry.subject, "loop": entry.loop, "component": entry.component,
        "program": entry.program, "seq": entry.sequence, "fields": dict(entry.fields),
    }  # fmt: skip
    document = {name: value for name, value in document.items() if value}
    line = _line(document)
    if len(line) > LINE_BYTES:
        document.pop("fields", None)
        line = _line(document)
    most = len(entry.message)
    while len(line) > LINE_BYTES:
        most //= 2
        line = _line({**document, "message": f"{entry.message[:most]}..."})
    return line


def _line(document: dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


class JsonLines:
    """Writes them to a descriptor; a reader that does not read loses lines, and nothing waits for it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, entry: LogEntry) -> bool:
        """Write a line; False if the descriptor takes nothing now."""
        if not self._is_ready():
            return False
        try:
            os.write(self._descriptor, encode_json(entry))
        except OSError:
            return False
        return True

    def _is_ready(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return any(events & select.POLLOUT for _, events in poll.poll(0))
