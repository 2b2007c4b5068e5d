"""The logs of this host's processes and its audit log, read in the disk thread from descriptors that are granted.

A log is read from its end back, from where its times say; the part that was moved away is before it. A process may be
captured, and its log may hold anything: what has no time in the part that is looked through is left out, and told.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tlsrt import AuditReader, AuditRecord, LogEntry, LogReader, RuntimeFile
from tlsrt.loops.secondary.log_query import Entry, Filter, Found, Page, Position
from tlsrt.loops.secondary.log_text import shown

LOOK_BYTES = 1 << 20  # of one log with one question
_BLOCK = 64 * 1024
_PROBE = 16 * 1024  # in which a time is looked for
AUDIT_FILE_BYTES = 8 << 20  # of one file; the authority begins another at 4 MiB
AUDIT_FILES = 2  # with one question
AUDIT_PARTS = 16  # that are given whole at once, as they are
_PIECE = 32 * 1024
_HEADER_BYTES = 1024  # in which the first entry of a part ends; it has about 350
UNSAID = 6  # the priority of a line that says none
_AUDIT_UNSAID = 5
_LEVELS = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class ProcessLog:
    """The log of one process: its files as one, the earlier one first."""

    def __init__(self, name: str, files: Sequence[RuntimeFile]) -> None:
        self.name = name
        self.files = sorted(files, key=lambda file: not file.is_earlier)

    def older(self, wanted: Filter, before: Position, limit: int) -> tuple[Page, str]:
        """Return entries before a position, the newest first, and what is wrong. Raises OSError."""
        log = _Joined(self.files)
        latest = min(one for one in (before.at_us, wanted.until_us, _now_us()) if one is not None)
        end = log.end_of(latest)
        most, room = limit + before.skip.get(self.name, 0), _BLOCK
        while True:
            begin = max(0, end - room)
            entries = [one for one in log.entries(self.name, begin, end) if one.at > 0 or begin == 0]
            found = [one for one in map(_of_log, entries) if one.at_us <= latest]
            passed = [one for one in reversed(found) if wanted.wants(one.entry, one.at_us, UNSAID)]
            is_past = bool(found) and found[0].at_us < wanted.since_us
            if len(passed) >= most or is_past or begin == 0:
                return Page(_after_skip(passed, before, self.name)[:limit], None), ""
            if room >= LOOK_BYTES:
                if not found:
                    return Page([], None), f"{self.name}: no line of its last {LOOK_BYTES >> 10} KiB has a time"
                return Page(_after_skip(passed, before, self.name)[:limit], found[0].at_us), ""
            room *= 4


def _now_us() -> int:
    return time.time_ns() // 1000


def _after_skip(passed: list[Found], before: Position, log: str) -> list[Found]:
    """Return what is left without those of that moment that have been given."""
    left, kept = before.skip.get(log, 0), list[Found]()
    for found in passed:
        if left and found.at_us == before.at_us:
            left -= 1
        else:
            kept.append(found)
    return kept


class _Joined:
    """Files that follow each other, read as one. Their sizes are those of the beginning."""

    def __init__(self, files: Sequence[RuntimeFile]) -> None:
        self._parts = [(file, file.size) for file in files]
        self.size = sum(size for _, size in self._parts)

    def read(self, begin: int, end: int) -> bytes:
        pieces, at = list[bytes](), 0
        for file, size in self._parts:
            first, last = max(begin - at, 0), min(end - at, size)
            if first < last:
                pieces.append(file.read(last - first, first))
            at += size
        return b"".join(pieces)

    def entries(self, name: str, begin: int, end: int) -> list[LogEntry]:
        """Return the entries that lie between; the line that has begun before is none of them."""
        data = self.read(begin, end)
        if begin:
            data = data.partition(b"\n")[2]
        reader = LogReader(name)
        return reader.feed(data, time.time()) + reader.end()

    def end_of(self, latest_us: int) -> int:
        """Return an offset, after which there is nothing until that moment. Times of a log do not run back."""
        low, high = 0, self.size
        while high - low > _BLOCK:
            middle = (low + high) // 2
            at = next((one.at for one in self.entries("", middle, min(middle + _PROBE, self.size)) if one.at > 0), None)
            if at is not None and at * 1e6 > latest_us:
                high = middle
            else:
                low = middle
        return min(self.size, high + _PROBE)


def _of_log(entry: LogEntry) -> Found:
    lines, begin = "; ".join(entry.lines), entry.lines[0].split(" ", 3)
    text, is_cut = shown(lines)
    at_us = round(entry.at * 1000) * 1000
    priority = _LEVELS.get(begin[2]) if len(begin) > 3 else None
    component = entry.component if "/" in entry.component else entry.process
    return Found(
        at_us,
        Entry(at_ms=at_us // 1000, source="logs", unit=None, component=component, priority=priority, text=text,
              is_cut=is_cut),
    )  # fmt: skip


class AuditLog:
    """The files of the audit log, the newest first."""

    def __init__(self, files: Sequence[RuntimeFile]) -> None:
        self._files = files

    def older(self, wanted: Filter, before: Position, limit: int) -> tuple[Page, str]:
        """Return records before a position, the newest first, and what is wrong. Raises OSError."""
        latest = min(one for one in (before.at_us, wanted.until_us, 1 << 60) if one is not None)
        most = limit + before.skip.get("audit", 0)
        passed, looked, why = list[Found](), 0, ""
        for file in self._files:
            if _first_us(file) > latest:
                continue
            records, is_broken = _records(file)
            why = f"part {file.name} of the audit log has other bytes in it: `audit verify`" if is_broken else why
            found = [one for one in map(of_record, records) if one.at_us <= latest]
            passed += [one for one in reversed(found) if wanted.wants(one.entry, one.at_us, _AUDIT_UNSAID)]
            looked += 1
            if len(passed) >= most or (found and found[0].at_us < wanted.since_us):
                break
            if looked == AUDIT_FILES and found and file is not self._files[-1]:
                return Page(_after_skip(passed, before, "audit")[:limit], found[0].at_us), why
        passed.sort(key=lambda one: -one.at_us)
        return Page(_after_skip(passed, before, "audit")[:limit], None), why


class AuditPiece(NamedTuple):
    """Bytes of one part of the audit log: where they lie in it, and whether all of the part is given."""

    file: RuntimeFile
    at: int
    size: int
    is_whole: bool

    def read(self) -> bytes:
        """Return the bytes, fewer if the part has become shorter. Raises OSError."""
        return self.file.read(self.size, self.at)


def audit_pieces(files: Sequence[RuntimeFile], parts: int) -> Iterator[AuditPiece]:
    """Yield what a proof is made of, the oldest first: headers of earlier parts, and the newest parts as they are now.

    `files` are the newest first, as the runtime gives them; waits for a disk. Raises OSError.
    """
    for number, file in reversed([*enumerate(files)]):
        if number < parts:
            for at in range(0, min(file.size, AUDIT_FILE_BYTES), _PIECE):
                yield AuditPiece(file, at, min(_PIECE, file.size - at), is_whole=True)
        else:
            size = 4 + int.from_bytes(file.read(4, 0), "big") + 64  # of its first entry, which is its header
            yield AuditPiece(file, 0, min(size, _HEADER_BYTES), is_whole=False)


def _first_us(file: RuntimeFile) -> int:
    found = AuditReader().feed(file.read(2 * _PROBE, 0))
    return found[0].at_ms * 1000 if found else 0


def _records(file: RuntimeFile) -> tuple[list[AuditRecord], bool]:
    reader, found, at = AuditReader(), list[AuditRecord](), 0
    while at < AUDIT_FILE_BYTES and (data := file.read(256 * 1024, at)):
        at += len(data)
        found += reader.feed(data)
    return found, reader.is_broken


def of_record(record: AuditRecord) -> Found:
    """Return a record of the audit log as an entry."""
    words = " ".join(f"{name}={_word(value)}" for name, value in record.detail.items())
    text, is_cut = shown(f"{record.kind} {words}".rstrip())
    return Found(
        record.at_ms * 1000,
        Entry(at_ms=record.at_ms, source="audit", unit=None, component=record.subject or None, priority=None,
              text=text, is_cut=is_cut),
    )  # fmt: skip


def _word(value: str | int) -> str:
    text = str(value)
    return text if text and not set(text) & set(' "=') else '"' + text.replace('"', '\\"') + '"'


class NewEntries:
    """What is written from now on to files that are granted; it reads on in each, and in those that come."""

    def __init__(self, behind_bytes: int) -> None:
        self._behind = behind_bytes  # of a file that has more the middle is left out
        self._at: dict[tuple[int, int], tuple[RuntimeFile, int, LogReader | AuditReader]] = {}
        self._has_begun = False

    def take(self, files: Iterable[RuntimeFile], *, is_audit: bool) -> tuple[list[Found], int]:
        """Return what is new, and how many bytes were left out. Raises OSError."""
        listed = {file.identity: file for file in files}
        for number, (identity, file) in enumerate(listed.items()):
            if identity not in self._at:  # of the audit log the first is the newest, and nothing comes to another
                self._at[identity] = (file, self._begin(file, is_audit and number == 0), _reader(file, is_audit))
        found, left_out = list[Found](), 0
        for identity, (file, at, reader) in list(self._at.items()):
            size = file.size
            at = 0 if size < at else at
            if size - at > self._behind and isinstance(reader, LogReader):
                left_out += size - self._behind - at
                at, reader = size - self._behind, LogReader(file.name)
            data = file.read(min(size - at, self._behind), at)
            if data:
                found += _read(reader, data)
            if identity in listed:
                self._at[identity] = (file, at + len(data), reader)
            elif not data:
                del self._at[identity]
        self._has_begun = True
        return found, left_out

    def _begin(self, file: RuntimeFile, is_audit: bool) -> int:
        """Return where new entries begin: at the end of what is there when it begins, at the beginning later."""
        if self._has_begun:
            return 0
        return _whole_bytes(file) if is_audit else file.size


def _reader(file: RuntimeFile, is_audit: bool) -> LogReader | AuditReader:
    return AuditReader() if is_audit else LogReader(file.name)


def _whole_bytes(file: RuntimeFile) -> int:
    """Return the end of the last whole entry of the audit log."""
    reader, at = AuditReader(), 0
    while at < AUDIT_FILE_BYTES and (data := file.read(256 * 1024, at)):
        at += len(data)
        reader.feed(data)
    return at - reader.waiting


def _read(reader: LogReader | AuditReader, data: bytes) -> list[Found]:
    if isinstance(reader, AuditReader):
        return [of_record(record) for record in reader.feed(data)]
    return [_of_log(entry) for entry in reader.feed(data, time.time()) + reader.end() if entry.at > 0]
