"""Private keys of PEM files, read without a copy of their text: cryptography's reader of PEM keeps one in freed memory.

RFC 7468. What is before, between and after the blocks is passed over; the first block with a private key counts.
"""

from __future__ import annotations

import binascii
import re

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tlsrt.supervisor.process.secret_memory import wipe

_BEGIN = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----")
_TEXT = re.compile(rb"[A-Za-z0-9+/=\s]*")


def read_private_key(pem: bytes) -> PrivateKeyTypes:
    """Return the first private key in a PEM file; the caller wipes the file's text.

    Raises what `load_pem_private_key` does: TypeError for one that is encrypted, ValueError for what is no key, and
    UnsupportedAlgorithm.
    """
    der = _der_of(pem)
    try:
        return load_der_private_key(der, None)
    finally:
        wipe(der)


def _der_of(pem: bytes) -> bytes:
    """Return the DER of the first private key. Its base64 is read where it lies, so that no copy of it is made."""
    begin = _BEGIN.search(pem)
    if begin is None:
        raise ValueError("no private key in PEM")
    end = pem.find(b"-----END %b-----" % begin[1], begin.end())
    if end < 0:
        raise ValueError("the private key has no end")
    if begin[1].startswith(b"ENCRYPTED") or pem.find(b"ENCRYPTED", begin.end(), end) >= 0:
        raise TypeError("the private key is encrypted")
    if _TEXT.fullmatch(pem, begin.end(), end) is None:
        raise ValueError("the private key is no base64")
    try:
        return binascii.a2b_base64(memoryview(pem)[begin.end() : end])
    except binascii.Error as error:
        raise ValueError("the private key is no base64") from error
