"""Verifies an audit log, and names the first entry that is wrong. Pure; needs nothing of the host.

What each check holds up, with the public key alone: the sequence and the stored chain name what was changed
without knowledge of the format; a checkpoint names, by its list of leaves, what was changed with it;
signatures lead from the public key through every header and every checkpoint; a header says where the file before it
ended. With master_key the MACs say the same of entries that no checkpoint has signed yet. What no check can see: that
the log was cut off behind its last entry. For that there are anchors, checkpoints that were kept elsewhere.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tlsrt.config import key_schedule
from tlsrt.config.audit_roots import STATEMENTS_MAX, RootStatement
from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.files import name_of
from tlsrt.supervisor.audit.merkle import Peaks, grown, leaf_hash, root_of
from tlsrt.supervisor.audit.record import (
    CUT,
    FINAL,
    LEAF_BYTES,
    Checkpoint,
    LogEntry,
    LogHeader,
    chain_after,
    read_entry_untrusted,
    to_sign,
)
from tlsrt.supervisor.audit.removal import RemovedFiles, gone_by, key_from
from tlsrt.supervisor.audit.signer import ChainLink

FileKey = Callable[[LogHeader], bytes | None]  # the key of a file, None if it is not known
DISTANCE_MAX = STATEMENTS_MAX + 1
_NAME = re.compile(r"audit-(\d{8,})\.log")


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong."""

    file: str
    sequence: int  # of the entry, or of the one that should stand there; 0: of none
    sentence: str

    def __str__(self) -> str:
        return (
            f"{self.file}, sequence {self.sequence}: {self.sentence}"
            if self.sequence
            else f"{self.file}: {self.sentence}"
        )


@dataclass(frozen=True, slots=True)
class Anchor:
    """A checkpoint that was kept elsewhere."""

    file: int
    size: int
    root: bytes


@dataclass(slots=True)
class VerifyReport:
    """What was found. Without a fault, everything that is here is what was written."""

    files: int = 0
    entries: int = 0
    records: int = 0
    checkpoints: int = 0
    first: int = 0  # sequence numbers
    last: int = 0
    missing_files: int = 0  # before the first one that is here
    gone_records: int = 0  # in files that retention has removed
    unsigned: int = 0  # entries behind the last checkpoint
    torn: int = 0  # bytes of an entry that was being written
    is_closed: bool = False  # the last file ends with FINAL
    fault: Fault | None = None


class _Stop(Exception):
    """Carries the fault out."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault


def verify(
    files: Iterable[tuple[str, bytes]], trusted: Collection[bytes], *, file_key: FileKey = lambda header: None,
    must_be_closed: bool = False, anchors: Collection[Anchor] = (), heads: bytes = b"", may_begin_late: bool = False,
    roots: Iterable[RootStatement] = (),
) -> VerifyReport:  # fmt: skip
    """Verify files, given by name and content, in their order. `trusted` are public keys of audit logs.

    `heads` are the headers that retention has kept, and `roots` what root keys said of each other. With
    `may_begin_late`, files before the first one are elsewhere; without it, a signed record must say that
    retention has removed them.
    """
    walk = _Walk(set(trusted), file_key, anchors, heads, may_begin_late, tuple(roots))
    try:
        for name, data in files:
            walk.file(name, data)
        if walk.link is None:
            raise _Stop(Fault("the audit log", 0, "there is no file of it"))
        walk.end(must_be_closed=must_be_closed)
    except _Stop as stop:
        walk.report.fault = stop.fault
    return walk.report


@dataclass(slots=True)
class _Walk:
    """One pass over all files."""

    trusted: set[bytes]
    file_key: FileKey
    anchors: Collection[Anchor]
    heads: bytes
    may_begin_late: bool
    statements: Sequence[RootStatement]
    report: VerifyReport = field(default_factory=VerifyReport)
    name: str = ""
    link: ChainLink | None = None  # of the file before
    key: bytes | None = None  # that signs the next checkpoint
    header_key: bytes | None = None  # that signs the next header of this life
    vouched: dict[bytes, int] = field(default_factory=dict[bytes, int])  # older root keys: rotations to a trusted one
    distance: int = DISTANCE_MAX  # of the last first header of a life: 0 for a trusted key, and it only ever falls
    unpinned: Fault | None = None  # a header of unknown origin, unless a trusted one follows it
    roots: dict[tuple[int, int], bytes] = field(default_factory=dict[tuple[int, int], bytes])
    ends: dict[int, tuple[int, bytes]] = field(default_factory=dict[int, tuple[int, bytes]])  # of files: last entry
    held: dict[int, int] = field(default_factory=dict[int, int])  # records of each file that is here
    gone: list[tuple[str, int, RemovedFiles]] = field(
        default_factory=list[tuple[str, int, RemovedFiles]]
    )  # as signed records say

    def file(self, name: str, data: bytes) -> None:
        before, self.name = self.name, name
        if not data:
            raise self.wrong(0, "it is empty, and no file of an audit log ever is: what it held is gone")
        entry, header = self._header(data)
        self._follows(before, entry, header)
        self._signed_header(entry, header)
        counted = self.report.records
        self.link = _Body(self, entry, header).read(data)
        self.ends[header.file] = self.link.sequence, self.link.chain
        self.held[header.file] = self.report.records - counted
        self.report.files += 1

    def end(self, *, must_be_closed: bool) -> None:
        assert self.link is not None
        self._begins()
        if self.unpinned is not None:
            raise _Stop(self.unpinned)
        for anchor in self.anchors:
            self._anchored(anchor, self.link)
        self.report.is_closed = self.link.end == FINAL
        if must_be_closed and not self.report.is_closed:
            raise self.wrong(self.link.sequence + 1, "FINAL is missing: the host was killed, or the end was cut off")

    def _begins(self) -> None:
        """Compare what is not here with what retention says that it has removed."""
        last = 0
        for name, sequence, gone in self.gone:
            if self.ends.get(gone.file, (gone.sequence, gone.chain)) != (gone.sequence, gone.chain):
                raise self.wrong(sequence, f"it says that file {gone.file} was removed, and is not true", file=name)
            if gone.lost and not self.may_begin_late:
                raise self.wrong(
                    0, f"removed, but not by retention: sequence {sequence} says so", file=name_of(gone.lost)
                )
            here = sum(count for file, count in self.held.items() if file <= gone.file)
            last, self.report.gone_records = max(last, gone.file), gone.records - here
        if self.report.missing_files > last and not self.may_begin_late:
            sentence = "it is not here, and no signed record says that retention removed it"
            raise self.wrong(0, sentence, file=name_of(last + 1))

    def wrong(self, sequence: int, sentence: str, *, file: str = "") -> _Stop:
        return _Stop(Fault(file or self.name, sequence, sentence))

    def _header(self, data: bytes) -> tuple[LogEntry, LogHeader]:
        try:
            entry = read_entry_untrusted(data, 0)
        except PeerError as error:
            raise self.wrong(0, f"its header does not read ({error.reason})") from None
        if entry is None or not isinstance(entry.value, LogHeader):
            raise self.wrong(0, "it does not begin with a whole header")
        return entry, entry.value

    def _follows(self, before: str, entry: LogEntry, header: LogHeader) -> None:
        link = self.link
        if link is not None and header.file != link.file + 1 and entry.sequence <= link.sequence:
            raise self.wrong(entry.sequence, f"{before} has this sequence too: one of them is not of this log")
        named = _NAME.fullmatch(self.name)
        if named is not None and int(named[1]) != header.file:
            raise self.wrong(entry.sequence, f"it says that it is file {header.file}: files were swapped or renamed")
        if link is None:
            self.report.missing_files = header.file - 1
            self.report.first = entry.sequence
            self.ends[header.before_file] = header.before_sequence, header.before_chain
        elif header.file != link.file + 1:
            raise self.wrong(
                entry.sequence, f"it is file {header.file} and follows file {link.file}: files are missing"
            )
        else:
            self._ends(before, link, header)
        if entry.sequence != header.before_sequence + 1:
            raise self.wrong(entry.sequence, f"its header should have sequence {header.before_sequence + 1}")
        if chain_after(header.before_chain, entry.body) != entry.chain:
            raise self.wrong(entry.sequence, "its header was changed")

    def _ends(self, before: str, link: ChainLink, header: LogHeader) -> None:
        """Compare the end of the file before with what was there when this one was begun."""
        said = header.before_sequence
        if said == link.sequence + 1 and header.before_end == FINAL and link.end != FINAL:
            raise self.wrong(said, f"FINAL is missing: {self.name} was begun after it", file=before)
        if said > link.sequence:
            raise self.wrong(
                link.sequence + 1, f"the end is cut off: {self.name} was begun after sequence {said}", file=before
            )
        if said < link.sequence:
            raise self.wrong(
                said + 1, f"this was not there when {self.name} was begun: added later, or of another file", file=before
            )
        if header.before_chain != link.chain or header.before_bytes != link.size or header.before_end != link.end:
            raise self.wrong(link.sequence, f"this is not the entry after which {self.name} was begun", file=before)

    def _signed_header(self, entry: LogEntry, header: LogHeader) -> None:
        def is_by(key: bytes) -> bool:
            return _is_signed(entry, key)

        if self.link is None:
            self._follow_roots(header.install)
        if header.file_in_life:
            if self.link is None:
                self.header_key = key_from(self.heads, header, {*self.trusted, *self.vouched}, _is_signed)
                self.distance = 0 if header.root in self.trusted else self.vouched.get(header.root, DISTANCE_MAX)
            if self.header_key is None and self.link is None:
                self._unpin(entry)  # the one who vouches for it is in a file that is not here
            elif self.header_key is None or not is_by(self.header_key):
                raise self.wrong(entry.sequence, "its header is not signed by the key that the header before named")
        elif any(map(is_by, self.trusted)):
            self.unpinned, self.distance = None, 0
        elif self.vouched.get(header.root, DISTANCE_MAX) < min(self.distance + 1, DISTANCE_MAX) and is_by(header.root):
            self.distance = self.vouched[header.root]  # and from here on no key that is older than this one
        elif is_by(header.root):
            self._unpin(entry)
        else:
            raise self.wrong(entry.sequence, "its header is not signed by any key of this log")
        if self.unpinned is None and not self.distance:
            self.trusted.add(header.root)
        self.key, self.header_key = header.next_key, header.header_key

    def _follow_roots(self, install: bytes) -> None:
        """Trust the keys that follow a trusted one; those before it may sign what is older than its first header."""
        good = [each for each in self.statements if each.is_good(install)]
        for _ in good:
            self.trusted |= {each.newer for each in good if each.older in self.trusted}
        ranks = dict.fromkeys(self.trusted, 0)
        for _ in good:
            for each in good:
                if each.newer in ranks:
                    ranks.setdefault(each.older, ranks[each.newer] + 1)
        self.vouched = {key: rank for key, rank in ranks.items() if rank}

    def _unpin(self, entry: LogEntry) -> None:
        self.unpinned = self.unpinned or Fault(
            self.name,
            entry.sequence,
            "its header is signed by a key that no earlier key vouches for: is this the right key?",
        )

    def checked(self, entry: LogEntry, point: Checkpoint) -> None:
        """Follow the keys through a checkpoint."""
        if self.key is None or not _is_signed(entry, self.key):
            raise self.wrong(entry.sequence, "this checkpoint is not signed by the key that was named for it")
        self.key = point.next_key
        if self.unpinned is None and not self.distance:
            self.trusted.add(point.root_key)

    def _anchored(self, anchor: Anchor, link: ChainLink) -> None:
        first = link.file - self.report.files + 1
        if anchor.file >= first and self.roots.get((anchor.file, anchor.size)) != anchor.root:
            raise self.wrong(
                0, f"an anchor says that file {anchor.file} had {anchor.size} entries: it was cut off or replaced"
            )


class _Body:
    """The entries of one file."""

    def __init__(self, walk: _Walk, entry: LogEntry, header: LogHeader) -> None:
        self._walk = walk
        self._file = header.file
        file_key = walk.file_key(header)
        self._mac_key = key_schedule.audit_mac_key(file_key) if file_key is not None else None
        self._sequence = entry.sequence - 1
        self._chain = header.before_chain
        self._size = 0
        self._peaks: Peaks = ()
        self._leaves = b""
        self._end = ""
        self._gone: list[tuple[str, int, RemovedFiles]] = []  # that no checkpoint has signed yet

    def read(self, data: bytes) -> ChainLink:
        """Check every entry; return how the file ends."""
        walk, at = self._walk, 0
        while at < len(data):
            try:
                entry = read_entry_untrusted(data, at)
            except PeerError as error:
                raise walk.wrong(self._sequence + 1, f"this does not read ({error.reason}): it was changed") from None
            if entry is None:
                break
            self._entry(entry)
            at = entry.end
        walk.report.torn = len(data) - at
        walk.report.unsigned = len(self._leaves) // LEAF_BYTES - bool(walk.report.checkpoints)
        if self._end and at < len(data):
            raise walk.wrong(self._sequence + 1, "something follows FINAL")
        return ChainLink(self._file, at, self._sequence, self._chain, FINAL if self._end else CUT)

    def _entry(self, entry: LogEntry) -> None:
        walk, expected = self._walk, self._sequence + 1
        if self._end:
            raise walk.wrong(expected, "something follows FINAL")
        if entry.sequence > expected:
            raise walk.wrong(expected, f"this is missing: sequence {entry.sequence} stands in its place")
        if entry.sequence < expected:
            raise walk.wrong(expected, f"sequence {entry.sequence} stands here again: inserted or reordered")
        before, self._chain = self._chain, chain_after(self._chain, entry.body)
        if entry.chain != self._chain:
            raise walk.wrong(expected, "this was changed: it does not continue the chain")
        if self._mac_key is not None:
            if not hmac.compare_digest(hmac.digest(self._mac_key, self._chain, "sha256"), entry.mac):
                raise walk.wrong(expected, "its MAC is not the one of this place: it was not written by this host")
            self._mac_key = key_schedule.audit_next_mac_key(self._mac_key)
        if isinstance(entry.value, Checkpoint):
            self._checkpoint(entry, entry.value, before)
        elif isinstance(entry.value, LogHeader):
            if self._size:
                raise walk.wrong(expected, "a header stands within a file")
        else:
            walk.report.records += 1
            if (gone := gone_by(entry.value)) is not None:
                self._gone.append((walk.name, expected, gone))
        leaf = leaf_hash(entry.body)
        self._peaks, self._leaves = grown(self._peaks, leaf), self._leaves + leaf[:LEAF_BYTES]
        self._size, self._sequence = self._size + 1, expected
        walk.report.entries, walk.report.last = walk.report.entries + 1, expected

    def _checkpoint(self, entry: LogEntry, point: Checkpoint, before: bytes) -> None:
        walk = self._walk
        walk.checked(entry, point)
        first = entry.sequence - len(self._leaves) // LEAF_BYTES
        for index in range(0, max(len(self._leaves), len(entry.leaves)), LEAF_BYTES):
            if self._leaves[index : index + LEAF_BYTES] != entry.leaves[index : index + LEAF_BYTES]:
                raise walk.wrong(first + index // LEAF_BYTES, "this is not what the checkpoint after it has signed")
        root = root_of(self._peaks)
        if (point.file, point.size, point.root) != (self._file, self._size, root) or point.chain != before:
            raise walk.wrong(entry.sequence, "this checkpoint is not of this place")
        walk.roots[self._file, self._size] = root
        walk.report.checkpoints += 1
        self._leaves, self._end = b"", point.end
        walk.gone += self._gone
        self._gone = []


def _is_signed(entry: LogEntry, key: bytes) -> bool:
    assert isinstance(entry.value, LogHeader | Checkpoint)
    return is_signed(entry.value, entry.sequence, entry.content, entry.signature, key)


def is_signed(value: LogHeader | Checkpoint, sequence: int, content: bytes, signature: bytes, key: bytes) -> bool:
    """Tell whether a signature over a header or a checkpoint is by this public key."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, to_sign(value, sequence, content))
    except (InvalidSignature, ValueError):
        return False
    return True
