"""Signer: makes entries with chain, MACs, tree and signed checkpoints. Pure.

Keys go forward only. The MAC key of an entry is the HKDF step of the one before; a checkpoint is signed by a key that
the checkpoint before it named, and names the next. The header of a life's next file is signed by a key that the
header before it named, so headers alone lead from the root key to any file when those between have gone
(`retention.py`). So an attacker that takes over the authority finds no key that wrote what stands in the log already.
Objects of this class are values that grow: `copy()` is the way back when a write failed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.config import key_schedule
from tlsrt.supervisor.audit.merkle import Peaks, grown, leaf_hash, root_of
from tlsrt.supervisor.audit.record import (
    CUT,
    FINAL,
    LEAF_BYTES,
    NONE,
    OPEN,
    SEGMENT_MAX,
    VERSION,
    Checkpoint,
    LogHeader,
    LogRecord,
    chain_after,
    encode_content,
    encode_record,
    encode_signed,
    join,
    to_sign,
)

Randomness = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class ChainLink:
    """Where a file ended, for the header of the one after it."""

    file: int = 0
    size: int = 0  # bytes
    sequence: int = 0
    chain: bytes = bytes(32)
    end: str = NONE


@dataclass(frozen=True, slots=True)
class LogLife:
    """What is the same for all files of one life of the authority."""

    install: bytes
    number: int
    boot: bytes
    root: bytes  # public


@dataclass(slots=True)
class LogSigner:
    """The head of one file. Times are ms; `randomness` gives the seeds of checkpoint keys."""

    life: LogLife
    randomness: Randomness
    file: int
    file_in_life: int
    file_key: bytes = field(repr=False)  # of the file after this one
    mac_key: bytes = field(repr=False)  # of the next entry
    signing: Ed25519PrivateKey = field(repr=False)  # of the next checkpoint
    heading: Ed25519PrivateKey = field(repr=False)  # of the next file's header
    root_key: bytes
    sequence: int = 0  # of the last entry
    chain: bytes = bytes(32)
    size: int = 0  # entries
    length: int = 0  # bytes
    peaks: Peaks = ()
    leaves: bytes = b""
    end: str = OPEN
    head: tuple[int, int, bytes, int] | None = None  # of the last checkpoint: file, size, root, sequence
    spent: list[bytes] = field(default_factory=list[bytes], repr=False)  # MAC keys that were used: to be wiped

    def copy(self) -> LogSigner:
        """Return another one that stands at the same place."""
        return replace(self, spent=[])

    @property
    def root(self) -> bytes:
        """Return the root of the tree over all entries."""
        return root_of(self.peaks)

    def record(self, record: LogRecord) -> bytes:
        """Return a record's bytes, after a checkpoint if one is due."""
        before = self.checkpoint(record.boottime, record.wall) if len(self.leaves) >= SEGMENT_MAX * LEAF_BYTES else b""
        return before + self._append(encode_record(self.sequence + 1, record))

    def checkpoint(self, boottime: int, wall: int, end: str = OPEN) -> bytes:
        """Return a checkpoint's bytes; with an `end` it is the last entry of the file."""
        following = Ed25519PrivateKey.from_private_bytes(self.randomness(32))
        point = Checkpoint(
            self.file, self.size, self.root, self.chain, hashlib.sha256(self.leaves).digest(),
            following.public_key().public_bytes_raw(), self.root_key, boottime, wall, end,
        )  # fmt: skip
        data = self._signed(point, self.signing, self.leaves)
        self.signing, self.leaves, self.end = following, self.leaves[-LEAF_BYTES:], end
        self.head = (point.file, point.size, point.root, self.sequence)
        return data

    def link(self) -> ChainLink:
        """Return what the header of the file after says of this one."""
        return ChainLink(self.file, self.length, self.sequence, self.chain, FINAL if self.end else CUT)

    def _signed(self, value: LogHeader | Checkpoint, key: Ed25519PrivateKey, leaves: bytes = b"") -> bytes:
        content = encode_content(value)
        signature = key.sign(to_sign(value, self.sequence + 1, content))
        return self._append(encode_signed(self.sequence + 1, value, content, signature, leaves))

    def _append(self, body: bytes) -> bytes:
        leaf = leaf_hash(body)
        self.sequence += 1
        self.chain = chain_after(self.chain, body)
        data = join(body, self.chain, hmac.digest(self.mac_key, self.chain, "sha256"))
        self.spent.append(self.mac_key)
        self.mac_key = key_schedule.audit_next_mac_key(self.mac_key)
        self.size, self.length = self.size + 1, self.length + len(data)
        self.peaks, self.leaves = grown(self.peaks, leaf), self.leaves + leaf[:LEAF_BYTES]
        return data


def begin_file(
    life: LogLife, before: ChainLink, file_key: bytes, signer: Ed25519PrivateKey, boottime: int, wall: int,
    randomness: Randomness, *, file_in_life: int = 0, root_key: bytes = b"",
) -> tuple[LogSigner, bytes]:  # fmt: skip
    """Return the head of a new file, and its header.

    `signer` is the root key for the first file of a life, then the key that the header before named; `root_key` is
    the public root key of the next life, if it is another one.
    """
    signing, heading = (Ed25519PrivateKey.from_private_bytes(randomness(32)) for _ in range(2))
    sealer = LogSigner(
        life, randomness, before.file + 1, file_in_life, key_schedule.audit_next_file_key(file_key),
        key_schedule.audit_mac_key(file_key), signing, heading, root_key or life.root, before.sequence, before.chain,
    )  # fmt: skip
    header = LogHeader(
        VERSION, life.install, sealer.file, life.number, file_in_life, life.boot, boottime, wall, life.root,
        signing.public_key().public_bytes_raw(), heading.public_key().public_bytes_raw(),
        before.file, before.size, before.sequence, before.chain, before.end,
    )  # fmt: skip
    return sealer, sealer._signed(header, signer)


def next_file(sealer: LogSigner, boottime: int, wall: int) -> tuple[LogSigner, bytes]:
    """Return the head and the header of the file that follows one which was ended by a rotation."""
    return begin_file(
        sealer.life, sealer.link(), sealer.file_key, sealer.heading, boottime, wall, sealer.randomness,
        file_in_life=sealer.file_in_life + 1, root_key=sealer.root_key,
    )  # fmt: skip
