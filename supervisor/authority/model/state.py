"""The authority's state: all that must survive its process, in one file.

These are epoch, boots, seal number, revocations, first-open times, key version, clients, jobs, lock, scores. The one
file is a magic line with the version of its format, the SHA-256 of the rest, and one msgpack map of named fields. It
is written beside itself, fsynced and renamed, and the folder is fsynced, so that a reader finds the old state or the
new one (rename(2), fsync(2)). What is left of a save that was cut off is removed by the next one. A file that does
not read is never replaced by an empty one: that would forget revocations and allow a roll-back. A field that is
missing has its first value, so that a later tlsrt may add one; a field that is unknown is refused, because only a
later one can have written it, and dropping it would forget what it was for.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgpack

from tlsrt.config.files import create_in, read_up_to, rename_in
from tlsrt.config.issuer_chain import Chain, encode_chain, parse_chain_untrusted
from tlsrt.errors import ConfigError, PeerError
from tlsrt.supervisor.audit.vouch import StateSummary
from tlsrt.supervisor.authority.model.client_registry import Enrolled, decode_registry, encode_registry
from tlsrt.supervisor.authority.model.detection_snapshot import DetectionSnapshot, decode_snapshot, encode_snapshot
from tlsrt.supervisor.authority.model.issued_certificate import IssuedCertificate, decode_issued, encode_issued
from tlsrt.supervisor.authority.model.jobs import Job, decode_jobs, encode_jobs
from tlsrt.supervisor.authority.model.join_codes import PendingCode, decode_codes, encode_codes
from tlsrt.supervisor.messages.lock_record import LockRecord, record_of

STATE_NAME = "authority.state"
STATE_MAX = 16 << 20
_NEW_NAME = STATE_NAME + ".new"
_MAGIC = b"tlsrt-authority-state 2\n"
_EVERY_MAGIC = re.compile(rb"tlsrt-authority-state (\d+)\n")
_KINDS = ("session", "token", "subject")
_TYPES: dict[str, type] = {
    "epoch": int, "boots": int, "boot_hash": bytes, "seal": int, "revocation": int, "revocations": list,
    "first_opens": dict, "key_version": int, "succession": bytes, "enrolled": list,
    "lock": list, "audit": int,
    "join_codes": list, "response": list,
    "number": int, "jobs": list, "issued": list,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revocation. `until` is wall time in ms, after which everything it can hit has expired.

    For a subject it is when the subject may come back; 0 is when it is restored.
    """

    number: int
    kind: str
    value: bytes
    until: int


@dataclass(slots=True)
class AuthorityState:
    """The whole state; a fresh one is that of a host that never ran."""

    epoch: int = 0
    boots: int = 0  # lives of the authority, counted
    boot_hash: bytes = b""
    seal: int = 0
    revocation: int = 0  # number of the last one
    revocations: list[Revocation] = field(default_factory=list[Revocation])
    first_opens: dict[str, int] = field(default_factory=dict[str, int])  # subject: wall time, ms
    key_version: int = 0  # of master_key; an older one is a roll-back. 0: of a host that never ran
    succession: Chain = ()  # of issuer keys, for clients that missed a rotation
    join_codes: dict[bytes, PendingCode] = field(default_factory=dict[bytes, PendingCode])  # that were printed, by id
    enrolled: dict[str, Enrolled] = field(default_factory=dict[str, Enrolled])  # while the host ran, by name
    jobs: dict[bytes, Job] = field(default_factory=dict[bytes, Job])  # that were put off, by id
    issued: IssuedCertificate = field(default_factory=IssuedCertificate)  # by the CA of ACME
    lock: LockRecord | None = None  # the host is locked
    response: DetectionSnapshot = field(
        default_factory=DetectionSnapshot
    )  # who has points, what is done about whom, and why
    number: int = 0  # of this write: the audit log knows the last one, so that an older file is noticed
    audit: int = 0  # sequence of the audit log that was on the disk when this was written: a shorter log was cut off

    def summary(self) -> StateSummary:
        """Return what the audit log is told of this state."""
        registry: bytes = msgpack.packb(encode_registry(self.enrolled), use_bin_type=True)
        return StateSummary(
            self.number, self.epoch, self.boots, self.revocation, int(self.lock is not None), zlib.crc32(registry)
        )

    def revoke(self, kind: str, value: bytes, until: int) -> Revocation:
        """Append a revocation and return it."""
        self.revocation += 1
        revocation = Revocation(self.revocation, kind, value, until)
        self.revocations.append(revocation)
        return revocation

    def restore(self, value: bytes) -> int:
        """Take a revoked subject off the list; return the number that says so."""
        self.forget("subject", value)
        self.revocation += 1
        return self.revocation

    def forget(self, kind: str, value: bytes) -> None:
        """Take a value off the list, for another entry about it."""
        self.revocations = [item for item in self.revocations if (item.kind, item.value) != (kind, value)]

    def prune(self, wall: int) -> None:
        """Drop sessions and tokens that have expired. A subject goes by `restore` only: verifiers have to be told."""
        self.revocations = [item for item in self.revocations if item.kind == "subject" or item.until > wall]

    def is_revoked(self, kind: str, value: bytes) -> bool:
        """Tell whether a value is on the list."""
        return any(item.kind == kind and item.value == value for item in self.revocations)


class StateStore(Protocol):
    """Where the state is written."""

    def save(self, state: AuthorityState) -> None:
        """Write it, to survive a power cut; raise OSError if it may not."""


def write_state(store: StateStore, state: AuthorityState) -> None:
    """Write the state; raise ConfigError with a sentence for people."""
    try:
        store.save(state)
    except OSError as error:
        raise ConfigError(f"cannot write the authority's state: {error.strerror}") from None


class StateFile:
    """The file in its folder, which is known by descriptor."""

    def __init__(self, folder: int) -> None:
        self._folder = folder

    def load(self) -> AuthorityState:
        """Return the state, a fresh one if there is no file; raise ConfigError if it does not read."""
        try:
            descriptor = os.open(STATE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        except FileNotFoundError:
            return AuthorityState()
        except OSError as error:
            raise ConfigError(f"cannot open the authority's state {STATE_NAME}: {error.strerror}") from None
        try:
            data = read_up_to(descriptor, STATE_MAX + 1)
        except OSError as error:
            raise ConfigError(f"cannot read the authority's state {STATE_NAME}: {error.strerror}") from None
        finally:
            os.close(descriptor)
        return decode_state(data)

    def save(self, state: AuthorityState) -> None:
        """Replace the file; when this returns, the state survives a power cut. Raises OSError."""
        self.replace(encode_state(state))

    def replace(self, data: bytes, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Replace the file by these bytes, if that is still wanted when they are on the disk."""
        os.close(create_in(self._folder, _NEW_NAME, data))
        if is_wanted():
            rename_in(self._folder, _NEW_NAME, STATE_NAME)


def encode_state(state: AuthorityState) -> bytes:
    """Return the bytes of a state file."""
    fields = {
        "epoch": state.epoch, "boots": state.boots, "boot_hash": state.boot_hash, "seal": state.seal,
        "revocation": state.revocation,
        "revocations": [[item.number, item.kind, item.value, item.until] for item in state.revocations],
        "first_opens": state.first_opens, "key_version": state.key_version,
        "succession": encode_chain(state.succession), "enrolled": encode_registry(state.enrolled),
        "lock": list(state.lock or ()), "audit": state.audit, "number": state.number,
        "join_codes": encode_codes(state.join_codes), "response": encode_snapshot(state.response),
        "jobs": encode_jobs(state.jobs), "issued": encode_issued(state.issued),
    }  # fmt: skip
    body: bytes = msgpack.packb(fields, use_bin_type=True)
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode_state(data: bytes) -> AuthorityState:
    """Return the state in `data`. Raise ConfigError for anything that `encode_state` did not write whole."""
    magic = _EVERY_MAGIC.match(data)
    if not magic:
        raise _torn()
    digest, body = data[magic.end() : magic.end() + 32], data[magic.end() + 32 :]
    if hashlib.sha256(body).digest() != digest:
        raise _torn()
    try:
        fields = msgpack.unpackb(body, raw=False, strict_map_key=True)
    except Exception as error:  # msgpack raises half a dozen classes
        raise _torn() from error
    if magic[1] == b"1" and isinstance(fields, list):  # it had no names, but this order
        fields = dict(zip(_TYPES, fields, strict=False))
    elif magic[0] != _MAGIC:
        raise _foreign()
    if not isinstance(fields, dict):
        raise _torn()
    if not fields.keys() <= _TYPES.keys():
        raise _foreign()
    if any(type(value) is not _TYPES[name] for name, value in fields.items()):
        raise _torn()
    if not all(type(name) is str and type(when) is int for name, when in fields.get("first_opens", {}).items()):
        raise _torn()
    fields["revocations"] = [_revocation(item) for item in fields.get("revocations", [])]
    try:
        fields["succession"] = parse_chain_untrusted(fields.get("succession", b""))
        fields["enrolled"] = decode_registry(fields.get("enrolled", []))
        fields["lock"] = record_of(fields.get("lock", []))
        fields["join_codes"] = decode_codes(fields.get("join_codes", []))
        fields["jobs"] = decode_jobs(fields.get("jobs", []))
        fields["issued"] = decode_issued(fields.get("issued", []))
        fields["response"] = decode_snapshot(fields.get("response", []))
    except (PeerError, ConfigError, ValueError) as error:
        raise _torn() from error
    return AuthorityState(**fields)


def _revocation(item: Any) -> Revocation:
    if not isinstance(item, list) or list(map(type, item)) != [int, str, bytes, int] or item[1] not in _KINDS:
        raise _torn()
    return Revocation(*item)


def _torn() -> ConfigError:
    return ConfigError(
        f"the authority's state {STATE_NAME} is damaged: it holds revocations and the seal number, so it is not reset; "
        "put it back from your backup"
    )


def _foreign() -> ConfigError:
    return ConfigError(
        f"the authority's state {STATE_NAME} was written by another version of tlsrt: start that one, or put the state "
        "back from your backup"
    )
