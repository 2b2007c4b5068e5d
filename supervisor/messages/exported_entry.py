"""An entry of the log on its way from the supervisor to the process that sends it away. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tlsrt.channels.control.export import ENTRY_BYTES
from tlsrt.errors import PeerError

_MESSAGE_MOST = 2048  # characters
_FIELDS_MOST = 64
_VALUE_MOST = 256  # characters of a field


@dataclass(frozen=True, slots=True)
class ExportedEntry:
    """What all ways out have in common; `fields` have names as the journal has them, TLSRT_..."""

    at_ms: int
    priority: int  # syslog(3)
    message: str
    event: str  # empty for a line of a process
    process: str
    fields: tuple[tuple[str, str], ...]

    @property
    def is_grave(self) -> bool:
        """Tell whether it is an event that an operator has to see; no line of a process is."""
        return self.priority <= 4 and self.event != ""


def encode_entry(entry: ExportedEntry) -> bytes:
    """Return it as bytes, within ENTRY_BYTES whatever it holds."""
    fields = [[name, value[:_VALUE_MOST]] for name, value in entry.fields[:_FIELDS_MOST]]
    message = entry.message[:_MESSAGE_MOST]
    tree: list[object] = [entry.at_ms, entry.priority, message, entry.event, entry.process, fields]
    data = json.dumps(tree, separators=(",", ":")).encode()
    while len(data) > ENTRY_BYTES and fields:
        fields.pop()
        data = json.dumps(tree, separators=(",", ":")).encode()
    return data


def decode_entry_untrusted(data: bytes) -> ExportedEntry:
    """Return the entry. Raises PeerError for what is none."""
    try:
        at_ms, priority, message, event, process, fields = json.loads(data)
        texts = (message, event, process, *(text for pair in fields for text in pair))
        if type(at_ms) is not int or type(priority) is not int or not all(type(text) is str for text in texts):
            raise PeerError("not_an_entry")
        return ExportedEntry(at_ms, priority, message, event, process, tuple((name, value) for name, value in fields))
    except (ValueError, TypeError, RecursionError):
        raise PeerError("not_an_entry") from None
