"""Inclusion proof: shows with the public key alone that one record is in the log. Pure.

It holds the record, its path through the tree to the root of the first checkpoint behind it (a tree is of one file),
and every signature from the public key to that checkpoint: the headers of the life's files up to this one, and this
one's checkpoints. It says nothing about other records, but for hashes, and needs no other file, only its header.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tlsrt.errors import PeerError
from tlsrt.supervisor.audit.merkle import inclusion_proof, leaf_hash, root_by_proof
from tlsrt.supervisor.audit.record import (
    Checkpoint,
    LogHeader,
    LogRecord,
    parse_body_untrusted,
    parse_checkpoint_untrusted,
    parse_header_untrusted,
    read_entry_untrusted,
)
from tlsrt.supervisor.audit.removal import headers_in
from tlsrt.supervisor.audit.verify import is_signed

Step = tuple[int, bytes, bytes]  # sequence, content and signature of a header or a checkpoint


@dataclass(frozen=True, slots=True)
class Proof:
    """One record, and what leads to it."""

    steps: tuple[Step, ...]
    body: bytes
    index: int  # in its file
    path: tuple[bytes, ...]


def make_proof(files: Sequence[bytes], sequence: int, heads: bytes = b"") -> Proof:
    """Return the proof for a record of a log that was verified. Raise PeerError with a word if there is none.

    `heads` are the headers that retention has kept of files that are not here.
    """
    steps: list[Step] = [(entry.sequence, entry.content, entry.signature) for entry, _ in headers_in(heads)]
    headers = len(steps)
    for data in files:
        at, index, found, body = 0, 0, -1, b""
        leaves: list[bytes] = []
        while (entry := read_entry_untrusted(data, at)) is not None:
            if isinstance(entry.value, LogHeader):
                headers = headers + 1 if entry.value.file_in_life else 1
                del steps[headers - 1 :]
            if entry.signature:
                steps.append((entry.sequence, entry.content, entry.signature))
            if isinstance(entry.value, Checkpoint) and found >= 0:
                return Proof(tuple(steps), body, found, tuple(inclusion_proof(leaves, found)))
            if entry.sequence == sequence:
                if entry.signature:
                    raise PeerError("not_a_record")
                found, body = index, entry.body
            leaves.append(leaf_hash(entry.body))
            at, index = entry.end, index + 1
        if found >= 0:
            raise PeerError("not_signed_yet")
    raise PeerError("not_here")


def check_proof_untrusted(proof: Proof, trusted: Collection[bytes]) -> tuple[int, LogRecord]:
    """Return the sequence and the record that a proof proves. Raise PeerError with a word if it proves none."""
    sequence, _, _, _, record = parse_body_untrusted(proof.body)
    if not isinstance(record, LogRecord):
        raise PeerError("not_a_record")
    keys = tuple(trusted)
    point: Checkpoint | None = None
    header: LogHeader | None = None
    for at, content, signature in proof.steps:
        value = _header_or_point(content)
        if isinstance(value, LogHeader):
            if point is not None or bool(value.file_in_life) != (header is not None):
                raise PeerError("steps")
            signers, header, point = keys if header is None else (header.header_key,), value, None
        elif header is not None:
            signers, point = (point.next_key if point is not None else header.next_key,), value
        else:
            raise PeerError("steps")
        if not any(is_signed(value, at, content, signature, key) for key in signers):
            raise PeerError("signature")
    if point is None:
        raise PeerError("no_checkpoint")
    if root_by_proof(leaf_hash(proof.body), proof.index, point.size, proof.path) != point.root:
        raise PeerError("path")
    return sequence, record


def _header_or_point(content: bytes) -> LogHeader | Checkpoint:
    try:
        return parse_header_untrusted(content)
    except PeerError:
        return parse_checkpoint_untrusted(content)
