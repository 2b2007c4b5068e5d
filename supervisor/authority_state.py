"""What the authority must not forget: epoch, boots, seal number, revocations, first-open times and key version.

The one file is a magic line, the SHA-256 of the rest, and one msgpack array. It is written beside itself, fsynced and
renamed, and the folder is fsynced, so that a reader finds the old state or the new one (rename(2), fsync(2)). A file
that does not read is never replaced by an empty one: that would forget revocations and allow a roll-back.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

import msgpack

from tlsrt.config.succession import Chain, encode_chain, parse_chain_untrusted
from tlsrt.errors import ConfigError, PeerError

STATE_NAME = "authority.state"
STATE_MAX = 16 << 20
_NEW_NAME = STATE_NAME + ".new"
_MAGIC = b"tlsrt-authority-state 1\n"
_KINDS = ("session", "token", "subject")
_TYPES = (int, int, bytes, int, int, list, dict, int, bytes)
_BEFORE_ROTATION = 7  # fields of a file that was written before keys had versions


@dataclass(frozen=True, slots=True)
class Revocation:
    """One revocation. `until` is wall time in ms, after which everything it can hit has expired; 0 is for ever."""

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

    def revoke(self, kind: str, value: bytes, until: int) -> Revocation:
        """Append a revocation and return it."""
        self.revocation += 1
        revocation = Revocation(self.revocation, kind, value, until)
        self.revocations.append(revocation)
        return revocation

    def prune(self, wall: int) -> None:
        """Drop what has expired, but for the last one, whose number a loop must hear to be in step."""
        last = self.revocation
        self.revocations = [item for item in self.revocations if not 0 < item.until <= wall or item.number == last]

    def is_revoked(self, kind: str, value: bytes) -> bool:
        """Tell whether a value is on the list."""
        return any(item.kind == kind and item.value == value for item in self.revocations)


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
            data = _read(descriptor)
        except OSError as error:
            raise ConfigError(f"cannot read the authority's state {STATE_NAME}: {error.strerror}") from None
        finally:
            os.close(descriptor)
        return decode_state(data)

    def save(self, state: AuthorityState) -> None:
        """Replace the file; when this returns, the state survives a power cut. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(_NEW_NAME, flags, 0o600, dir_fd=self._folder)
        try:
            view = memoryview(encode_state(state))
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(_NEW_NAME, STATE_NAME, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        os.fsync(self._folder)


def encode_state(state: AuthorityState) -> bytes:
    """Return the bytes of a state file."""
    revocations = [[item.number, item.kind, item.value, item.until] for item in state.revocations]
    body: bytes = msgpack.packb(
        [
            state.epoch, state.boots, state.boot_hash, state.seal, state.revocation, revocations, state.first_opens,
            state.key_version, encode_chain(state.succession),
        ],
        use_bin_type=True,
    )  # fmt: skip
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode_state(data: bytes) -> AuthorityState:
    """Return the state in `data`; raise ConfigError for anything that `encode_state` did not write whole."""
    body = data[len(_MAGIC) + 32 :]
    digest = data[len(_MAGIC) : len(_MAGIC) + 32]
    if not data.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        raise _torn()
    try:
        fields = msgpack.unpackb(body, raw=False, strict_map_key=True)
    except Exception as error:  # msgpack raises half a dozen classes
        raise _torn() from error
    if isinstance(fields, list) and len(fields) == _BEFORE_ROTATION:
        fields += [0, b""]
    if not isinstance(fields, list) or tuple(map(type, fields)) != _TYPES:
        raise _torn()
    epoch, boots, boot_hash, seal, revocation, revocations, first_opens, key_version, succession = fields
    if not all(type(name) is str and type(when) is int for name, when in first_opens.items()):
        raise _torn()
    listed = [_revocation(item) for item in revocations]
    try:
        chain = parse_chain_untrusted(succession)
    except PeerError as error:
        raise _torn() from error
    return AuthorityState(epoch, boots, boot_hash, seal, revocation, listed, first_opens, key_version, chain)


def _revocation(item: Any) -> Revocation:
    if not isinstance(item, list) or list(map(type, item)) != [int, str, bytes, int] or item[1] not in _KINDS:
        raise _torn()
    return Revocation(*item)


def _read(descriptor: int) -> bytes:
    pieces = bytearray()
    while piece := os.read(descriptor, 1 << 16):
        pieces += piece
        if len(pieces) > STATE_MAX:
            break
    return bytes(pieces)


def _torn() -> ConfigError:
    return ConfigError(
        f"the authority's state {STATE_NAME} is damaged: it holds revocations and the seal number, so it is not reset; "
        "put it back from your backup"
    )
