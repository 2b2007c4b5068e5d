"""A private key and its certificates, as OpenSSL takes them where there is no memory file: in a sealed component."""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path

_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----[^-]*-----END \1-----")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")


def load_key_pair(context: ssl.SSLContext, pem: bytes, scratch: Path) -> None:
    """Have a context use a key and its certificates that a component has as a secret, as PEM, the own one first.

    OpenSSL takes them from a named file only. For a moment it is one of the folder `scratch` (`self.state`), and
    encrypted under a password that is never written. In a component, import
    `cryptography.hazmat.primitives.serialization` at the top of its module. Raises ValueError, TypeError and OSError
    for what is no such pair.
    """
    from cryptography.hazmat.primitives import serialization

    found, certificates = _KEY.search(pem), _CERTIFICATE.findall(pem)
    if found is None or not certificates:
        raise ValueError("there is no private key without a password, or no certificate")
    password = os.urandom(32).hex().encode()
    key = serialization.load_pem_private_key(found.group(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password)
    )
    path = scratch / ".tlsrt-pair"
    path.unlink(missing_ok=True)  # of a process that was killed
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, b"\n".join([*certificates, encrypted]))
        context.load_cert_chain(path, password=password)
    finally:
        os.close(descriptor)
        path.unlink()
