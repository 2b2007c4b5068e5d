"""Statements of two root keys of the audit log that one follows the other: made by `rotate --master`. Pure.

Both keys sign both: the older one, so that a verifier who has it goes on to the newer, and the newer one, so that a
verifier who has only that can check what was written before it. They lie beside the files of the log.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tlsrt.config import key_schedule

ROOTS = "audit.roots"  # the file
STATEMENTS_MAX = 64
_DOMAIN = b"tlsrt/audit/roots/v1\0"
_KEY, _SIGNATURE = 32, 64
_BYTES = 2 * (_KEY + _SIGNATURE)


class RootStatement(NamedTuple):
    """Two public keys, and a signature by each."""

    older: bytes
    newer: bytes
    by_older: bytes
    by_newer: bytes

    def is_good(self, install: bytes) -> bool:
        """Tell whether both keys have signed it."""
        text = _text(install, self.older, self.newer)
        try:
            for key, signature in ((self.older, self.by_older), (self.newer, self.by_newer)):
                Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


def state_roots(install: bytes, older_prk: bytes, newer_prk: bytes) -> bytes:
    """Return the statement about the root keys of two versions of master_key."""
    keys = [Ed25519PrivateKey.from_private_bytes(_seed(prk)) for prk in (older_prk, newer_prk)]
    older, newer = (key.public_key().public_bytes_raw() for key in keys)
    text = _text(install, older, newer)
    return older + newer + b"".join(key.sign(text) for key in keys)


def with_statement(data: bytes, statement: bytes) -> bytes:
    """Return the content of the file with one statement more; the oldest go."""
    whole = len(data) - len(data) % _BYTES
    return (data[:whole] + statement)[-STATEMENTS_MAX * _BYTES :]


def parse_roots_untrusted(data: bytes) -> list[RootStatement]:
    """Return the statements in the file, whose signatures are not checked; what is none is left out. Cannot fail."""
    found: list[RootStatement] = []
    for at in range(0, min(len(data), STATEMENTS_MAX * _BYTES) - _BYTES + 1, _BYTES):
        keys, signatures = data[at : at + 2 * _KEY], data[at + 2 * _KEY : at + _BYTES]
        found.append(RootStatement(keys[:_KEY], keys[_KEY:], signatures[:_SIGNATURE], signatures[_SIGNATURE:]))
    return found


def _seed(prk: bytes) -> bytes:
    return key_schedule.audit_seed(key_schedule.audit_root(prk))


def _text(install: bytes, older: bytes, newer: bytes) -> bytes:
    return _DOMAIN + install + older + newer
