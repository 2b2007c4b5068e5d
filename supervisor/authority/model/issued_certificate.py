"""What the authority's state keeps of ACME: names that an operator has added, and the certificate with its sealed key.

The key is sealed with a key of master_key, so that a copy of the state, as in a backup, does not hold it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.config import key_schedule

_NONCE_BYTES = 12
NAMES_MAX = 64


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """Names beside those of the configuration; the chain, DER, and its key, sealed; none: none was issued yet."""

    names: tuple[str, ...] = ()
    chain: tuple[bytes, ...] = ()
    key_version: int = 0  # of master_key
    sealed_key: bytes = field(default=b"", repr=False)


def seal_key(secrets: bytes, key: bytes, randomness: Callable[[int], bytes]) -> bytes:
    """Return the private key of the certificate (DER), sealed."""
    nonce = randomness(_NONCE_BYTES)
    return nonce + AESGCM(key_schedule.certificate_key(secrets)).encrypt(nonce, key, None)


def open_key(secrets: bytes, sealed: bytes) -> bytes:
    """Return a private key (DER); nothing if it was sealed by another master_key."""
    try:
        nonce, data = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return AESGCM(key_schedule.certificate_key(secrets)).decrypt(nonce, data, None)
    except (InvalidTag, ValueError):
        return b""


def encode_issued(issued: IssuedCertificate) -> list[Any]:
    """Return it as the state file has it."""
    return [list(issued.names), list(issued.chain), issued.key_version, issued.sealed_key]


def decode_issued(value: list[Any]) -> IssuedCertificate:
    """Return what `encode_issued` wrote, or the first value. Raises ValueError."""
    if not value:
        return IssuedCertificate()
    if list(map(type, value)) != [list, list, int, bytes]:
        raise ValueError("issued certificate")
    names, chain, version, sealed = value
    if not all(type(one) is str for one in names) or not all(type(one) is bytes for one in chain):
        raise ValueError("issued certificate")
    return IssuedCertificate(tuple(names), tuple(chain), version, sealed)
