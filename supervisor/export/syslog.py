"""Entries as syslog messages: RFC 5424, framed by octet counting as RFC 5425 asks for TLS. Pure.

No byte of an entry becomes another part of its message: texts of the header are cut to printable ASCII, values of
structured data are escaped, and what is not printable is written as an escape.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tlsrt.supervisor.messages.exported_entry import ExportedEntry
from tlsrt.text import printable

MESSAGE_MAX = 8192  # bytes, what every receiver of RFC 5425 should take
SD_ID = "tlsrt@32473"  # 32473 is the number that IANA keeps for examples: tlsrt has none of its own
_DAEMON = 3  # the facility
_BOM = b"\xef\xbb\xbf"
_DATA_MAX = 4096  # bytes of structured data


def encode_syslog(entry: ExportedEntry, host: str) -> bytes:
    """Return an entry as one frame: its length, a space, and the message."""
    head = " ".join(
        (
            f"<{_DAEMON * 8 + min(7, max(0, entry.priority))}>1", _timestamp(entry.at_ms), _word(host, 255), "tlsrt",
            _word(entry.process, 128), _word(entry.event, 32),
        )
    )  # fmt: skip
    message = head.encode() + b" " + _data(entry) + b" "
    text = printable(entry.message, MESSAGE_MAX)
    words = text.encode()
    if not text.isascii():
        words = _BOM + words  # RFC 5424, 6.4: without it a text is of no known encoding
    message += words[: MESSAGE_MAX - len(message)].decode(errors="ignore").encode()
    return str(len(message)).encode() + b" " + message


def _timestamp(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return "-"


def _word(text: str, most: int) -> str:
    """Return a text as PRINTUSASCII, `-` for none."""
    return "".join(char if "!" <= char <= "~" else "_" for char in text[:most]) or "-"


def _data(entry: ExportedEntry) -> bytes:
    parts: list[bytes] = []
    size = 0
    for name, value in entry.fields:
        escaped = printable(value, len(value)).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
        part = f' {_name(name)}="{escaped}"'.encode()
        size += len(part)
        if size > _DATA_MAX:
            break
        parts.append(part)
    return b"[" + SD_ID.encode() + b"".join(parts) + b"]" if parts else b"-"


def _name(text: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char in "_-.") else "_" for char in text[:32]) or "_"
