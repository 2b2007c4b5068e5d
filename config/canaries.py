"""Canaries: planted tokens and client keys whose use proves a theft. Pure.

They are derived from master_key, so that no list of them has to be kept; the authority derives their hashes when it
boots, and only these go to Primary, which recognises them. Each has a number, which tells an operator what was found
where. A token has the form of any other (channels/session/token.py). A client key is ECDSA P-256, and is known by its
point, which stands in a certificate as it is (SEC 1, section 2.3.3; RFC 5480).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsrt.config import key_schedule

NUMBERS = 16
STATE_CANARY = "master.key.bak"  # the canary file in the state folder
TOKEN_BYTES = 391  # as many as one for a client with a few policy lines has
_DOMAIN = b"tlsrt/canary/v1\0"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2, section 2.4.2)
_POINT_BEGINS = b"\x03\x42\x00\x04"  # BIT STRING of 66 bytes, no unused bits, an uncompressed point
_POINT_BYTES = 64
_TEXT_MAX = 2 * TOKEN_BYTES


@dataclass(frozen=True, slots=True)
class CanaryHashes:
    """What is enough to know a canary again: SHA-256 -> its number."""

    tokens: Mapping[bytes, int] = field(default_factory=dict[bytes, int])
    clients: Mapping[bytes, int] = field(default_factory=dict[bytes, int])

    def token(self, token: bytes) -> int | None:
        """Return the number of a canary token, or None."""
        return self.tokens.get(hash_of(token)) if len(token) == TOKEN_BYTES else None

    def token_in(self, header: str) -> int | None:
        """Return the number of the canary token in an Authorization header, or None."""
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or len(text) > _TEXT_MAX:
            return None
        try:
            return self.token(base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4)))
        except ValueError:
            return None

    def client(self, certificate: bytes) -> int | None:
        """Return the number of the canary client whose certificate (DER) this is, or None."""
        at = certificate.find(_POINT_BEGINS)
        point = certificate[at + len(_POINT_BEGINS) : at + len(_POINT_BEGINS) + _POINT_BYTES]
        return self.clients.get(hash_of(point)) if at >= 0 else None


def hash_of(secret: bytes) -> bytes:
    return hashlib.sha256(_DOMAIN + secret).digest()


def canary_token(root: bytes, number: int) -> bytes:
    """Return a token that opens nothing; `root` is keys.canary_root."""
    made = hashlib.shake_256(key_schedule.expand(root, "canary-token", number)).digest(TOKEN_BYTES - 13)
    return b"\x01" + (1).to_bytes(4, "big") + (2 + made[0] % 64).to_bytes(8, "big") + made


def text_of(token: bytes) -> str:
    """Return a token as it stands in a header or a file."""
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def canary_client(root: bytes, number: int) -> ec.EllipticCurvePrivateKey:
    """Return the key of a client that there is not."""
    seed = key_schedule.expand(root, "canary-client", number) + key_schedule.expand(
        root, "canary-client", number + NUMBERS
    )
    return ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, ec.SECP256R1())


def canary_hashes(root: bytes) -> CanaryHashes:
    """Return the hashes of all canaries of a host."""
    tokens = {hash_of(canary_token(root, number)): number for number in range(NUMBERS)}
    clients: dict[bytes, int] = {}
    for number in range(NUMBERS):
        public = canary_client(root, number).public_key()
        clients[hash_of(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:])] = number
    return CanaryHashes(tokens, clients)
