"""Removal: the signed record of files that retention has removed. Pure.

A record of kind `pruned` says which file is the last that went, where it ended, and how many records went with it and
those before. It is believed when a checkpoint has signed it. Of files of a life that goes on the headers stay, one
after the other in `audit.heads`: each is signed by a key that the one before names, the first by the root key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.record import HASH, Detail, LogEntry, LogHeader, LogRecord, join, read_entry_untrusted

HEADS = "audit.heads"
KIND = "pruned"
SUBJECT = "audit"
MARK = b"\xa6pruned\xa5audit"  # as it stands in a body

Signed = Callable[[LogEntry, bytes], bool]  # whether an entry is signed by this public key


@dataclass(frozen=True, slots=True)
class RemovedFiles:
    """All that went until now."""

    file: int = 0  # the last one that retention has removed
    sequence: int = 0  # of its last entry
    chain: bytes = bytes(HASH)
    records: int = 0  # in all files that retention has removed
    lost: int = 0  # the first file that was removed, but not by retention, as that noticed; 0: none

    def detail(self, first_file: int) -> Detail:
        """Return what the record says, when the files from `first_file` on go."""
        detail: dict[str, str | int] = {
            "first_file": first_file, "file": self.file, "sequence": self.sequence, "chain": self.chain.hex(),
            "records": self.records,
        }  # fmt: skip
        return {**detail, "lost_file": self.lost} if self.lost else detail


def gone_by(record: LogRecord) -> RemovedFiles | None:
    """Return what a record says of this, None if it is about something else."""
    if (record.kind, record.subject) != (KIND, SUBJECT):
        return None
    said = dict(record.detail)
    numbers = [said.get(name, 0) for name in ("file", "sequence", "records", "lost_file")]
    try:
        chain = bytes.fromhex(str(said.get("chain")))
    except ValueError:
        return None
    if len(chain) != HASH or any(type(number) is not int or number < 0 for number in numbers):
        return None
    file, sequence, records, lost = map(int, numbers)
    return RemovedFiles(file, sequence, chain, records, lost)


def headers_in(heads: bytes) -> list[tuple[LogEntry, LogHeader]]:
    """Return the headers that stay, up to what is none."""
    found: list[tuple[LogEntry, LogHeader]] = []
    at = 0
    try:
        while (entry := read_entry_untrusted(heads, at)) is not None and isinstance(entry.value, LogHeader):
            found.append((entry, entry.value))
            at = entry.end
    except PeerError:
        pass
    return found


def heads_before(first: LogEntry, headers: Iterable[LogEntry]) -> bytes:
    """Return what stays of headers when `first` is that of the first file that is left."""
    life = _life(first)
    return b"".join(join(entry.body, entry.chain, entry.mac) for entry in headers if life and _life(entry) == life)


def _life(entry: LogEntry) -> int:
    return entry.value.life if isinstance(entry.value, LogHeader) else 0


def key_from(heads: bytes, first: LogHeader, trusted: Collection[bytes], is_signed: Signed) -> bytes | None:
    """Return the key that must have signed the header of the first file that is left, None if nothing leads to it."""
    key: bytes | None = None
    before: LogHeader | None = None
    for entry, header in (*headers_in(heads), (None, first)):
        if before is not None and (header.file, header.file_in_life) != (before.file + 1, before.file_in_life + 1):
            return None
        if entry is None:
            break
        keys = trusted if before is None and not header.file_in_life else (key,) if key is not None else ()
        if not any(is_signed(entry, each) for each in keys):
            return None
        before, key = header, header.header_key
    return key
