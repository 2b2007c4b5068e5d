"""A peer in process: a gate as one would write it at first. Correct, and slow.

Envelope and claims are msgpack maps; every frame costs one Ed25519 verification, new AES-GCM objects, random nonces,
and the body is opened and sealed again.
"""

from __future__ import annotations

import os
from typing import Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SENDER, RECIPIENT = "third/console", "secondary/store"


class NaiveGate:
    """Holds the issuer's public key, one key towards each side, and the policy."""

    def __init__(self) -> None:
        self._issuer = Ed25519PrivateKey.generate()
        self._public = self._issuer.public_key()
        self._token_key = AESGCM.generate_key(256)
        self._keys = {SENDER: AESGCM.generate_key(256), RECIPIENT: AESGCM.generate_key(256)}
        self._policy = {(SENDER, RECIPIENT): {"get", "put"}}
        self._last: dict[str, int] = {}
        self._seq = 0

    def frame(self, body: bytes, now: int) -> bytes:
        """Return what the sender sends."""
        self._seq += 1
        claims = msgpack.packb({"subject": SENDER, "session": os.urandom(16), "issued": now, "expires": now + 60_000})
        nonce = os.urandom(12)
        token = nonce + AESGCM(self._token_key).encrypt(nonce, self._issuer.sign(claims) + claims, b"")
        header = {"src": SENDER, "dst": RECIPIENT, "method": "get", "seq": self._seq, "deadline": now + 10_000}
        return self._seal(SENDER, header, token, body)

    def _seal(self, side: str, header: dict[str, Any], token: bytes, body: bytes) -> bytes:
        nonce = os.urandom(12)
        packed = msgpack.packb(header)
        sealed = AESGCM(self._keys[side]).encrypt(nonce, body, packed + token)
        envelope: bytes = msgpack.packb({"header": packed, "token": token, "nonce": nonce, "body": sealed})
        return envelope

    def check(self, data: bytes, now: int) -> bytes:
        """Return the frame to forward; raise ValueError, or what the cryptography raises."""
        envelope = msgpack.unpackb(data)
        header = msgpack.unpackb(envelope["header"])
        token = envelope["token"]
        opened = AESGCM(self._token_key).decrypt(token[:12], token[12:], b"")
        self._public.verify(opened[:64], opened[64:])
        claims = msgpack.unpackb(opened[64:])
        if claims["subject"] != header["src"] or not claims["issued"] <= now < claims["expires"]:
            raise ValueError("token")
        if now >= header["deadline"] or header["seq"] <= self._last.get(header["src"], 0):
            raise ValueError("late or repeated")
        body = AESGCM(self._keys[header["src"]]).decrypt(
            envelope["nonce"], envelope["body"], envelope["header"] + token
        )
        if header["method"] not in self._policy.get((header["src"], header["dst"]), ()):
            raise ValueError("not allowed")
        self._last[header["src"]] = header["seq"]
        return self._seal(header["dst"], header, token, body)
