"""What a client derives the keys of its kept results from: see session/job_result.py. Pure.

A file of its own, as the processes of a host seal results and read none: they do without what reads private keys.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


def result_secret(key_pem: bytes) -> bytes:
    """Return what only the holder of a private key has."""
    key = load_pem_private_key(key_pem, None)
    return hashlib.sha256(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).digest()
