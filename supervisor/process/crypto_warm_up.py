"""What OpenSSL makes at the first use of an algorithm, made once for all processes.

It fetches each algorithm from its provider when it is first needed, which took 3 MiB of each process and 2 ms of each
birth. With fixed keys and nonces nothing of it is a secret, and nothing of it draws a random number: a forked child
could not tell its generator from its parent's (see `preload_loops`).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_ANY = bytes(32)


def warm_up_crypto() -> None:
    """Use what each process uses: AES-256-GCM, and the signature of a token."""
    cipher = AESGCM(_ANY)
    cipher.decrypt(_ANY[:12], cipher.encrypt(_ANY[:12], _ANY, None), None)
    key = Ed25519PrivateKey.from_private_bytes(_ANY)
    key.public_key().verify(key.sign(_ANY), _ANY)
