"""What OpenSSL makes at the first use of an algorithm, made once for all processes.

It fetches each algorithm from its provider when it is first needed, which took 3 MiB of each process and 2 ms of each
birth. With a fixed key nothing of it is a secret. Nothing of it draws a random number, as a forked child could not tell
its generator from its parent's (see `preload_loops`), and nothing is sealed: no nonce is used twice anywhere.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_ANY = bytes(32)
# The tag of nothing under a key and a nonce of zeros: test case 13 of "The Galois/Counter Mode of Operation".
_TAG = bytes.fromhex("530f8afbc74536b9a963b4f1c4cb738b")


def warm_up_crypto() -> None:
    """Use what each process uses: AES-256-GCM, and the signature of a token."""
    AESGCM(_ANY).decrypt(_ANY[:12], _TAG, None)
    key = Ed25519PrivateKey.from_private_bytes(_ANY)
    key.public_key().verify(key.sign(_ANY), _ANY)
