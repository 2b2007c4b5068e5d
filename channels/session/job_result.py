"""The kept result of a job: sealed by its target for the owner, and for no other. Pure but for a fresh key.

The owner derives a key pair for each job from what only it has, and sends the public half along with the job, under its
proof. The target seals what a run gave by HPKE (RFC 9180). So the authority, which keeps it, Primary, which carries it,
a backup and root read nothing of it.
"""

from __future__ import annotations

import hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tlsrt.channels.frames.body import decode_value_untrusted, pack_value
from tlsrt.channels.frames.structure import StructureError
from tlsrt.config.hpke import SUITE
from tlsrt.errors import PeerError

KEY_BYTES = 32
RESULT_MAX = 1024  # bytes of a result: with all jobs of a host a quarter of a MiB of state
SEALED_MAX = RESULT_MAX + 48  # the encapsulated key, and the tag
TOO_LARGE = "too_large"  # in the place of an outcome; the value is then the number of bytes
_CONTEXT = b"tlsrt/job-result/v1\0"


def result_key(secret: bytes, job: bytes) -> X25519PrivateKey:
    """Return the key to the results of one job; `secret` is what its owner alone has, now and later."""
    return X25519PrivateKey.from_private_bytes(hmac.digest(secret, _CONTEXT + job, "sha256"))


def seal_result(public: bytes, job: bytes, run: int, outcome: str, value: object) -> bytes:
    """Return how a run ended and what it gave, its value or the sentence of its error, sealed. Raises PeerError."""
    try:
        body = pack_value([outcome, value])
        if len(body) > RESULT_MAX:
            body = pack_value([TOO_LARGE, len(body)])
        return SUITE.encrypt(body, X25519PublicKey.from_public_bytes(public), _info(job, run))
    except (StructureError, ValueError):  # ValueError: a point that no owner has made
        raise PeerError("result_unsealed") from None


def open_result(key: X25519PrivateKey, job: bytes, run: int, sealed: bytes) -> tuple[str, Any]:
    """Return the outcome, and the value or sentence. Raises PeerError for what was sealed for another key."""
    try:
        found = decode_value_untrusted(SUITE.decrypt(sealed, key, _info(job, run)))
    except (InvalidTag, ValueError):
        raise PeerError("result_sealed_otherwise") from None
    if not isinstance(found, list) or len(found) != 2 or type(found[0]) is not str:
        raise PeerError("bad_body")
    return found[0], found[1]


def _info(job: bytes, run: int) -> bytes:
    return _CONTEXT + job + run.to_bytes(8, "big")
