"""Retention: removes the oldest files of the log, and only after a signed record of that.

What may go is closed: a header behind it names its end, and its chain leads to just that end. A file of which this is
not true was changed by others: it is evidence, and it and everything behind it stays. The present file and the one
before it stay too. The order, so that no crash leaves a hole: a plan is made; its record is written and signed; the
headers that are still needed are kept in `audit.heads`; the files go. What a crash left of a plan goes with the next.

Security records of the files that go are written again before, with the record of the removal (`kept.py`).

There is no limit of age: setting the clock forward could have the log removed by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.files import AuditFolder, number_of
from tlsrt.supervisor.audit.kept import SHARE, newest_within, security_records
from tlsrt.supervisor.audit.record import (
    BODY_MAX,
    HASH,
    RECORD,
    LogEntry,
    LogHeader,
    LogRecord,
    plain_detail,
    read_entry_untrusted,
)
from tlsrt.supervisor.audit.recovery import ending_of
from tlsrt.supervisor.audit.removal import HEADS, KIND, MARK, SUBJECT, RemovedFiles, gone_by, headers_in, heads_before

FILES_MAX = 64  # in one plan
BYTES_MAX = 4 << 20  # that one plan looks at, and the rest of the file with which it is over
_STAY = 2  # the present file, and the one before
_HEADER_MAX = 4 + BODY_MAX + 2 * HASH


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """Files that are to go, and what the log says of that before."""

    names: Sequence[str]
    gone: RemovedFiles
    heads: bytes
    first_file: int  # 0: all of it was announced already
    bytes: int  # that the files take
    problem: str = ""  # why no more can go
    kept: Sequence[LogRecord] = ()  # security records of the files, which are said again

    def records(self, boottime: int, wall: int) -> list[LogRecord]:
        """Return what is to be written and signed before."""
        found = [LogRecord(boottime, wall, KIND, SUBJECT, plain_detail(self.gone.detail(self.first_file)))]
        problem = LogRecord(boottime, wall, "not_pruned", SUBJECT, plain_detail({"problem": self.problem}))
        kept = [replace(record, boottime=boottime, wall=wall) for record in self.kept]  # each says when it was first
        return [*kept, *(found if self.first_file else ()), *([problem] if self.problem else ())]


class Retention:
    """The files of one folder. Used by the thread that writes; everything raises OSError."""

    def __init__(self, folder: AuditFolder, keep_bytes: int) -> None:
        self._folder = folder
        self._keep_bytes = keep_bytes
        self._gone = last_gone(folder)
        self.older = sum(map(folder.size, folder.names()))  # bytes that files before the present one take
        self._problem = ""

    def plan(self) -> RetentionPlan | None:
        """Return what is to go now, None for nothing."""
        names = self._folder.names()
        sizes = [self._folder.size(name) for name in names]
        too_much = sum(sizes) - self._keep_bytes
        self.older = sum(sizes[:-1])
        left = [name for name in names if number_of(name) <= self._gone.file]  # of a plan that was cut off
        headers = {header.file: entry for entry, header in headers_in(self._folder.read_if_there(HEADS))}
        gone, going, looked, problem = self._gone, list[str](), 0, ""
        kept_records, freed = list[LogRecord](), 0
        for name, size, following in zip(names, sizes, names[1 : 1 - _STAY], strict=False):
            if name in left:
                too_much -= size
                if (entry := self._header(name)) is not None:
                    headers[number_of(name)] = entry
                continue
            if too_much <= 0 or looked >= BYTES_MAX or len(going) >= FILES_MAX:
                break
            data = self._folder.read(name)
            closed = _closed(data, self._header(following))
            if closed is None:
                problem = f"{name} does not end where {following} says: it was changed, so it stays as evidence"
                break
            if number_of(name) != gone.file + 1 and not gone.lost:
                gone = replace(gone, lost=gone.file + 1)
            headers[number_of(name)], sequence, chain = closed
            gone = replace(
                gone, file=number_of(name), sequence=sequence, chain=chain, records=gone.records + _records_in(data)
            )
            going.append(name)
            kept_records += security_records(data)
            freed += len(data)
            too_much, looked = too_much - size, looked + len(data)
        is_new = problem != self._problem
        self._problem = problem
        if not going and not left and not (problem and is_new):
            return None
        kept = [name for name in names if name not in going and name not in left]
        first = self._header(kept[0]) if kept else None
        heads = heads_before(first, headers.values()) if first is not None else b""
        room = sum(size for name, size in zip(names, sizes, strict=True) if name not in kept)
        return RetentionPlan(
            (*left, *going), gone, heads, number_of(going[0]) if going else 0, room, problem if is_new else "",
            newest_within(kept_records, freed // SHARE),
        )  # fmt: skip

    def carry_out(self, plan: RetentionPlan) -> None:
        """Let the files of a plan go; its record is on the disk, and signed."""
        self._gone = plan.gone
        if plan.names:
            self._folder.put(HEADS, plan.heads)
            self._folder.remove(plan.names)
            self.older -= plan.bytes

    def _header(self, name: str) -> LogEntry | None:
        try:
            return read_entry_untrusted(self._folder.read(name, _HEADER_MAX), 0)
        except PeerError:
            return None


def last_gone(folder: AuditFolder) -> RemovedFiles:
    """Return what the newest record of this says. It is in one of the last files, unless nothing was ever removed."""
    names = folder.names()
    if not names or number_of(names[0]) == 1:
        return RemovedFiles()
    for name in reversed(names):
        data = folder.read(name)
        if MARK in data and (found := _last_gone_in(data)) is not None:
            return found
    return RemovedFiles()


def _last_gone_in(data: bytes) -> RemovedFiles | None:
    found, at = None, 0
    try:
        while (entry := read_entry_untrusted(data, at)) is not None:
            gone = gone_by(entry.value) if isinstance(entry.value, LogRecord) else None
            found, at = gone or found, entry.end
    except PeerError:
        pass
    return found


def _closed(data: bytes, following: LogEntry | None) -> tuple[LogEntry, int, bytes] | None:
    """Return a file's header, last sequence and chain, if it ends where the header behind it says."""
    ending = ending_of(data)
    if ending is None or following is None or not isinstance(following.value, LogHeader):
        return None
    link, said = ending.link, following.value
    if (link.file, link.size, link.sequence, link.chain) != (
        said.before_file, said.before_bytes, said.before_sequence, said.before_chain
    ):  # fmt: skip
        return None
    header = read_entry_untrusted(data, 0)
    return (header, link.sequence, link.chain) if header is not None else None


def _records_in(data: bytes) -> int:
    """Return the number of records in a file whose entries are good: their bodies begin with array and type."""
    count, at = 0, 0
    while at + 6 <= len(data):
        count += data[at + 5] == RECORD
        at += 4 + int.from_bytes(data[at : at + 4], "big") + 2 * HASH
    return count
