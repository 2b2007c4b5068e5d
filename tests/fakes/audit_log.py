"""An audit log in memory, as an authority of several lives writes it, and an attacker's tools for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import count

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.config import key_schedule
from tlsrt.supervisor.audit.record import (
    ROTATED,
    STOPPED,
    LogEntry,
    LogHeader,
    LogRecord,
    plain_detail,
    read_entry_untrusted,
)
from tlsrt.supervisor.audit.removal import KIND, SUBJECT, RemovedFiles
from tlsrt.supervisor.audit.signer import ChainLink, LogLife, LogSigner, begin_file, next_file

INSTALL = bytes(range(0x10, 0x20))
ROOT = key_schedule.audit_root(key_schedule.extract(INSTALL, bytes(range(32))))
Files = list[tuple[str, bytes]]


def signer(root: bytes = ROOT) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(key_schedule.audit_seed(root))


def public(root: bytes = ROOT) -> bytes:
    return signer(root).public_key().public_bytes_raw()


TRUSTED = (public(),)


def file_key(header: LogHeader, root: bytes = ROOT) -> bytes:
    """What somebody who has master_key knows."""
    key = key_schedule.audit_file_key(root, header.life)
    for _ in range(header.file_in_life):
        key = key_schedule.audit_next_file_key(key)
    return key


def seeds() -> Callable[[int], bytes]:
    numbers = count()
    return lambda size: hashlib.sha256(b"seed %d" % next(numbers)).digest()[:size]


def record(number: int, **detail: str | int) -> LogRecord:
    return LogRecord(1000 + number, 2000 + number, "offence", f"third/{number}", plain_detail({"n": number, **detail}))


class AuditLog:
    """Writes into memory; `life` begins another one, as after a kill."""

    def __init__(self, install: bytes = INSTALL) -> None:
        self.install = install
        self.files: list[bytearray] = []
        self.randomness = seeds()
        self.lives = 0
        self.sealer: LogSigner

    def life(self, before: ChainLink | None = None, root: bytes = ROOT) -> AuditLog:
        self.lives += 1
        before = before or (self.sealer.link() if self.files else ChainLink())
        life = LogLife(self.install, self.lives, bytes(16), public(root))
        self.sealer, header = begin_file(
            life, before, key_schedule.audit_file_key(root, self.lives), signer(root), 1, 2, self.randomness
        )
        self.files.append(bytearray(header))
        return self

    def add(self, number: int) -> AuditLog:
        for _ in range(number):
            self.files[-1] += self.sealer.record(record(self.sealer.sequence + 1))
        return self

    def checkpoint(self, end: str = "") -> AuditLog:
        self.files[-1] += self.sealer.checkpoint(3, 4, end)
        return self

    def stop(self) -> AuditLog:
        return self.checkpoint(STOPPED)

    def rotate(self) -> AuditLog:
        self.checkpoint(ROTATED)
        self.sealer, header = next_file(self.sealer, 5, 6)
        self.files.append(bytearray(header))
        return self

    def gone(self, last: int) -> RemovedFiles:
        """What is true when the files up to this one have gone."""
        found = [entry for data in self.files[:last] for entry in entries(bytes(data))]
        return RemovedFiles(
            last, found[-1].sequence, found[-1].chain, sum(isinstance(each.value, LogRecord) for each in found)
        )

    def announce(self, last: int, gone: RemovedFiles | None = None) -> AuditLog:
        """Say that retention removes the files up to this one."""
        detail = plain_detail((gone or self.gone(last)).detail(1))
        self.files[-1] += self.sealer.record(LogRecord(7, 8, KIND, SUBJECT, detail))
        return self

    def heads(self, last: int) -> bytes:
        """What stays of them."""
        return b"".join(raw(bytes(data), entries(bytes(data))[0]) for data in self.files[:last])

    def named(self) -> Files:
        return [(f"audit-{number:08d}.log", bytes(data)) for number, data in enumerate(self.files, 1)]


def entries(data: bytes) -> list[LogEntry]:
    found: list[LogEntry] = []
    at = 0
    while (entry := read_entry_untrusted(data, at)) is not None:
        found.append(entry)
        at = entry.end
    return found


def raw(data: bytes, entry: LogEntry) -> bytes:
    return data[entry.start : entry.end]
