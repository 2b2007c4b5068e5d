"""Records of the kernel's log as they travel from the helper to components. Pure.

The kernel's own form (Documentation/ABI/testing/dev-kmsg) is `PRIORITY,SEQUENCE,TIME,FLAGS[,...];TEXT`, ended by a line
feed, and perhaps lines ` KEY=VALUE` of the device behind it. It writes what is not printable as \\xHH. Texts hold names
of devices and words of programs, so they are read as untrusted on both ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack

from tlsrt.channels.frames.structure import StructureError, unpack_untrusted
from tlsrt.errors import PeerError

READ_MAX = 8192  # bytes; less than PRINTK_MESSAGE_MAX (2 KiB), and an older kernel's 8 KiB, is refused by a read
TEXT_MAX = 1024  # characters of what is told
KERNEL = 0  # the facility of the kernel itself, which it lets no program write
_HEAD = re.compile(rb"(\d{1,4}),(\d{1,20}),(\d{1,20}),[-c+](?:,[^;]{0,200})?;")
_U64 = 1 << 64


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """One record of the kernel's log."""

    level: int  # 0 emergency to 7 debug, syslog(2)
    facility: int  # 0 is the kernel itself, all others are programs
    sequence: int  # counts all records, also those that are not told
    time_us: int  # since the host has started
    text: str  # printable ASCII, one line, at most 1024 characters
    dropped: int = 0  # records of the log before this one that were lost, whatever they said


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records a grant lets through."""

    level: int  # the least grave one
    programs: bool  # also those that the kernel itself has not written
    prefixes: tuple[str, ...]  # of the text

    def passes(self, record: KernelRecord) -> bool:
        """Say whether a record may be told."""
        is_from = self.programs or record.facility == KERNEL
        return is_from and record.level <= self.level and record.text.startswith(self.prefixes)


def parse_record_untrusted(data: bytes) -> KernelRecord:
    """Return what one read of /dev/kmsg gives. Raises PeerError for anything else."""
    match = _HEAD.match(data)
    if match is None:
        raise PeerError("bad_record")
    priority, sequence, time_us = (int(one) for one in match.groups())
    text = data[match.end() :].partition(b"\n")[0][:TEXT_MAX]
    return _checked([priority & 7, priority >> 3, sequence, time_us, text.decode("latin-1"), 0])


def encode_record(record: KernelRecord, dropped: int) -> bytes:
    """Return the datagram for a component."""
    fields = [record.level, record.facility, record.sequence, record.time_us, record.text, dropped]
    packed: bytes = msgpack.packb(fields)
    return packed


def decode_record_untrusted(data: bytes) -> KernelRecord:
    """Return what a datagram of the helper says; raises PeerError for anything that the kernel could not have said."""
    try:
        return _checked(unpack_untrusted(data[: 2 * TEXT_MAX]))
    except StructureError as error:
        raise PeerError("bad_record") from error


def _checked(items: object) -> KernelRecord:
    if not isinstance(items, list) or [type(one) for one in items] != [int, int, int, int, str, int]:
        raise PeerError("bad_record")
    level, facility, sequence, time_us, text, dropped = items
    numbers = (level, facility, sequence, time_us, dropped)
    if not all(0 <= one < _U64 for one in numbers) or level > 7 or len(text) > TEXT_MAX:
        raise PeerError("bad_record")
    if any(sign < " " or sign > "~" for sign in text):
        raise PeerError("bad_record")
    return KernelRecord(level, facility, sequence, time_us, text, dropped)


def joined(prefixes: Sequence[str]) -> bytes:
    """Return prefixes as one field of a message; none of them has a zero byte."""
    return b"\0".join(one.encode("ascii") for one in prefixes)


def taken_apart(prefixes: bytes) -> tuple[str, ...]:
    """Return the prefixes of such a field."""
    return tuple(one.decode("ascii") for one in prefixes.split(b"\0"))
