"""HPKE (RFC 9180) in the one suite that tlsrt uses: base mode, X25519, HKDF-SHA256, AES-256-GCM, one message.

`cryptography` has it from its version 47 on. Debian 13 has an older one: there it is made below of the same X25519 and
AES-GCM. The vectors of the RFC hold both, and each opens what the other has sealed. Pure but for the fresh key of each
message.
"""

from __future__ import annotations

import hmac
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12
_KEM = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x0020, 0x0001, 0x0002))


class Suite(Protocol):
    """Sealing to a public key: `enc | ciphertext`, without associated data."""

    def encrypt(self, plaintext: bytes, public_key: X25519PublicKey, info: bytes) -> bytes:
        """Return a message that only the holder of the private key reads. Raises ValueError for a low-order point."""
        ...

    def decrypt(self, ciphertext: bytes, private_key: X25519PrivateKey, info: bytes) -> bytes:
        """Return the plaintext. Raises InvalidTag, or ValueError for a low-order point."""
        ...


class OwnSuite:
    """The suite where `cryptography` has none."""

    def encrypt(self, plaintext: bytes, public_key: X25519PublicKey, info: bytes) -> bytes:
        """See `Suite`."""
        fresh = X25519PrivateKey.generate()
        encapsulated = fresh.public_key().public_bytes_raw()
        key, nonce = _keys(fresh.exchange(public_key), encapsulated, public_key.public_bytes_raw(), info)
        return encapsulated + AESGCM(key).encrypt(nonce, plaintext, b"")

    def decrypt(self, ciphertext: bytes, private_key: X25519PrivateKey, info: bytes) -> bytes:
        """See `Suite`."""
        encapsulated, sealed = ciphertext[:_KEY_BYTES], ciphertext[_KEY_BYTES:]
        if len(encapsulated) < _KEY_BYTES:
            raise InvalidTag
        shared = private_key.exchange(X25519PublicKey.from_public_bytes(encapsulated))
        key, nonce = _keys(shared, encapsulated, private_key.public_key().public_bytes_raw(), info)
        return AESGCM(key).decrypt(nonce, sealed, b"")


def _keys(shared: bytes, encapsulated: bytes, public: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Return key and nonce of the first and only message: RFC 9180, sections 4.1 and 5.1."""
    secret = _expand(_KEM, _extract(_KEM, b"", b"eae_prk", shared), b"shared_secret", encapsulated + public, _KEY_BYTES)
    context = b"\0" + _extract(_SUITE, b"", b"psk_id_hash", b"") + _extract(_SUITE, b"", b"info_hash", info)
    root = _extract(_SUITE, secret, b"secret", b"")
    return _expand(_SUITE, root, b"key", context, _KEY_BYTES), _expand(
        _SUITE, root, b"base_nonce", context, _NONCE_BYTES
    )


def _extract(suite: bytes, salt: bytes, label: bytes, data: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + data, "sha256")


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return hmac.digest(key, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01", "sha256")[:length]


def _suite() -> Suite:
    try:
        from cryptography.hazmat.primitives import hpke
    except ImportError:
        return OwnSuite()
    return hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


SUITE: Suite = _suite()
