"""Entries in the journal of systemd, by its native protocol: systemd.journal-fields(7), and JOURNAL_NATIVE_PROTOCOL.

A datagram holds fields, each `NAME=value` and a newline. A value with a newline is NAME, a newline, its length in 8
bytes (little endian), the bytes and a newline: so no value can begin a field. What is too large for a datagram
is handed over as a sealed memfd. journald is never waited for.
"""

from __future__ import annotations

import array
import errno
import os
import re
import socket
import struct
from collections.abc import Iterable

from tlsrt.supervisor.events.log_entry import IDENTIFIER, LogEntry
from tlsrt.supervisor.process.memfd import sealed_memory

SOCKET = "/run/systemd/journal/socket"
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_NO_NAME = re.compile(r"[^A-Z0-9_]")
_OURS = frozenset({"TLSRT_EVENT", "TLSRT_SUBJECT", "TLSRT_LOOP", "TLSRT_COMPONENT", "TLSRT_PROGRAM", "TLSRT_SEQUENCE"})


def encode_fields(fields: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Return fields as a datagram for journald. A field with a name that journald would not take is left out."""
    parts: list[bytes] = []
    for name, value in fields:
        if _NAME.fullmatch(name) is None:
            continue
        data = value if isinstance(value, bytes) else value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def fields_of(entry: LogEntry) -> list[tuple[str, str]]:
    """Return the fields of an entry; those of an event have names that begin with TLSRT_, too."""
    fields = [
        ("MESSAGE", entry.message), ("PRIORITY", str(entry.priority)), ("SYSLOG_IDENTIFIER", IDENTIFIER),
        ("MESSAGE_ID", entry.message_id), ("TLSRT_EVENT", entry.event), ("TLSRT_SUBJECT", entry.subject),
        ("TLSRT_LOOP", entry.loop), ("TLSRT_COMPONENT", entry.component),
        ("TLSRT_PROGRAM", entry.program), ("TLSRT_SEQUENCE", str(entry.sequence or "")),
    ]  # fmt: skip
    for name, value in entry.fields.items():
        if value is not None:
            fields.append((_name_of(name), str(value)))
    if entry.place is not None:
        file, line, function = entry.place
        fields += [("CODE_FILE", file), ("CODE_LINE", str(line)), ("CODE_FUNC", function)]
    return [(name, value) for name, value in fields if value]


def _name_of(field: str) -> str:
    name = f"TLSRT_{_NO_NAME.sub('_', field.upper())}"[:64]
    return f"{name[:58]}_FIELD" if name in _OURS else name


class JournalSocket:
    """A way to journald. `write` says whether it took something; it may be there again after a restart of its own."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path

    def write(self, entry: LogEntry) -> bool:
        """Hand over an entry; False if journald is not there, or has no room now."""
        return self.send(encode_fields(fields_of(entry)))

    def send(self, data: bytes) -> bool:
        """Hand over fields as `encode_fields` returns them."""
        try:
            way = _datagrams()
        except OSError:  # no descriptor is left, or no memory
            return False
        with way:
            try:
                way.sendto(data, self._path)
            except OSError as error:
                return error.errno == errno.EMSGSIZE and self._send_as_file(way, data)
        return True

    def _send_as_file(self, way: socket.socket, data: bytes) -> bool:
        try:
            descriptor = sealed_memory(data, "journal")
        except OSError:
            return False
        rights = array.array("i", [descriptor])
        try:
            way.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0, self._path)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
