"""Records of the audit log as they are read for people: what, of whom, when. It proves nothing. Pure.

`tlsrt-supervisor audit verify` proves that a log is whole. This reads only its records, and of an entry only its body:
u32 BE length | body, one msgpack array | chain and MAC, 64 bytes. docs/reference/audit-log-format.md.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from tlsrt.channels.frames.structure import StructureError, unpack_untrusted
from tlsrt.text import printable

BODY_MAX = 16 * 1024
_LENGTH = struct.Struct(">I")
_PROOF_BYTES = 64
_RECORD = 1
_TEXT_MOST = 256  # characters


class AuditRecord(NamedTuple):
    """One record; the texts are printable."""

    sequence: int
    at_ms: int  # wall time
    kind: str
    subject: str
    detail: dict[str, str | int]


class AuditReader:
    """Makes records of the bytes of one file, piece by piece, from its beginning."""

    def __init__(self) -> None:
        self._rest = b""
        self.is_broken = False  # what follows is no audit log: no more is read of this file

    @property
    def waiting(self) -> int:
        """Return the bytes of an entry that is not whole yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[AuditRecord]:
        """Return the records that are whole."""
        found = list[AuditRecord]()
        data, at = self._rest + data, 0
        while not self.is_broken and at + _LENGTH.size <= len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            begin = at + _LENGTH.size
            self.is_broken = not 0 < length <= BODY_MAX
            if self.is_broken or begin + length + _PROOF_BYTES > len(data):
                break
            record = _record_untrusted(data[begin : begin + length])
            if record is not None:
                found.append(record)
            at = begin + length + _PROOF_BYTES
        self._rest = b"" if self.is_broken else data[at:]
        return found


def _record_untrusted(body: bytes) -> AuditRecord | None:
    """Return a record; None for what is none: a header, a checkpoint, or other bytes. Cannot fail."""
    try:
        array = unpack_untrusted(body)
    except StructureError:
        return None
    if not isinstance(array, list) or len(array) != 7 or array[0] != _RECORD or not isinstance(array[6], list):
        return None
    _, sequence, _, wall, kind, subject, flat = array
    is_typed = type(sequence) is int and type(wall) is int and isinstance(kind, str) and isinstance(subject, str)
    if not is_typed or len(flat) % 2:
        return None
    pairs = zip(flat[::2], flat[1::2], strict=True)
    detail = {_text(name): value if type(value) is int else _text(value) for name, value in pairs}
    return AuditRecord(sequence, wall, _text(kind), _text(subject), detail)


def _text(value: object) -> str:
    return printable(str(value), _TEXT_MOST)
