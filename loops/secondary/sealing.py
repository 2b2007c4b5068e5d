"""Sealing of secrets: a root, a data key for each namespace, and seals over all that is written beside values. Pure.

Theory of operation. The root is 32 random bytes that the platform gives to this component alone. Two keys come of it
(HKDF, RFC 5869): one wraps data keys, one makes seals. Each namespace has a random data key, wrapped, and each value is
sealed by it: AES-256-GCM (RFC 5116) with 12 random bytes as nonce. Namespace, name, version, number of the data key and
both times are bound to a value, so in another place, or with another end, it does not open. Entries and changes have
seals (HMAC-SHA256, cut to 16 bytes), and all entries together a tree of them (secret_tree.py).

A data key may seal 2^32 values with random nonces (NIST SP 800-38D, 8.3): far more than fit in.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SEAL_BYTES: Final = 16
NODE_BYTES: Final = 32
_MODULUS: Final = 1 << (8 * SEAL_BYTES)
_LABEL: Final = b"tlsrt/secrets/1"


class BrokenSeal(Exception):
    """What is there was not sealed by this key as this. It says nothing of what it holds."""


class HiddenBytes(bytes):
    """Bytes that no log, traceback or error shows by accident."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes, not shown>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value belongs, all of which is bound to it. Times are wall ms; `ends_ms` None: it has no end."""

    namespace: str
    name: str
    version: int
    key_number: int
    at_ms: int
    ends_ms: int | None
    is_text: bool

    def bound(self) -> bytes:
        return _joined(
            b"value", self.namespace, self.name, self.version, self.key_number, self.at_ms,
            -1 if self.ends_ms is None else self.ends_ms, int(self.is_text),
        )  # fmt: skip


class Root:
    """The two keys of a root. Raises BrokenSeal for what it has not wrapped."""

    def __init__(self, root: bytes) -> None:
        self._wrapping = AESGCM(_derived(root, b"wrap"))
        self._sealing = _derived(root, b"seal")

    def __repr__(self) -> str:
        return "<Root, not shown>"

    def wrap(self, namespace: str, number: int, key: bytes, nonce: bytes) -> bytes:
        """Return the data key of a namespace as it may lie on a disk."""
        return nonce + self._wrapping.encrypt(nonce, key, _joined(b"key", namespace, number))

    def unwrap(self, namespace: str, number: int, wrapped: bytes) -> DataKey:
        """Return the data key."""
        return DataKey(_opened(self._wrapping, wrapped, _joined(b"key", namespace, number)))

    def seal(self, kind: bytes, *fields: str | int | bytes) -> bytes:
        """Return the seal over some fields; `kind` keeps one sort of entry from being taken for another."""
        return hmac.digest(self._sealing, _joined(kind, *fields), "sha256")[:SEAL_BYTES]

    def node(self, kind: bytes, *fields: str | int | bytes) -> bytes:
        """Return a node of the tree over some fields, which is not cut."""
        return hmac.digest(self._sealing, _joined(b"tree", kind, *fields), "sha256")

    def check(self, seal: bytes, kind: bytes, *fields: str | int | bytes) -> None:
        """Raise BrokenSeal for another seal."""
        if not hmac.compare_digest(seal, self.seal(kind, *fields)):
            raise BrokenSeal


class DataKey:
    """The key that seals the values of one namespace."""

    def __init__(self, key: bytes) -> None:
        self._key = AESGCM(key)

    def __repr__(self) -> str:
        return "<DataKey, not shown>"

    def seal(self, place: Place, value: bytes, nonce: bytes) -> bytes:
        """Return a value as it may lie on a disk: nonce and ciphertext."""
        return nonce + self._key.encrypt(nonce, value, place.bound())

    def open(self, place: Place, sealed: bytes) -> HiddenBytes:
        """Return the value. Raises BrokenSeal for what this key has not sealed for this place."""
        return HiddenBytes(_opened(self._key, sealed, place.bound()))


def sum_of(seals: Iterable[bytes]) -> bytes:
    """Return the sum that databases of the first format have in the place of a tree."""
    total = sum(int.from_bytes(seal, "big") for seal in seals)
    return (total % _MODULUS).to_bytes(SEAL_BYTES, "big")


def _opened(key: AESGCM, sealed: bytes, bound: bytes) -> bytes:
    try:
        return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):
        raise BrokenSeal from None


def _derived(root: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_LABEL + b"/" + purpose).derive(root)


def _joined(*fields: str | int | bytes) -> bytes:
    """Return fields so that no two lists of them give the same bytes: each with its length."""
    parts = [_LABEL, *(one.encode() if isinstance(one, str) else _plain(one) for one in fields)]
    return b"".join(len(one).to_bytes(4, "big") + one for one in parts)


def _plain(one: int | bytes) -> bytes:
    return one if isinstance(one, bytes) else one.to_bytes(9, "big", signed=True)


def digest_of(root: bytes) -> str:
    """Return a short name of a root, by which an operator tells two apart and learns nothing."""
    return hashlib.sha256(_LABEL + b"/name" + root).hexdigest()[:12]
