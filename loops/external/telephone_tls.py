"""TLS for telephones: the contexts of both directions, from secrets. A key is never a readable file."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tlsrt import ConfigError

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all good
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\n?", re.DOTALL)
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TelephoneTls:
    """Both contexts. `pair` is a PEM of certificates and key, `authorities` one of who signs telephones."""

    def __init__(self, pair: bytes, authorities: bytes | None, lowest: str, scratch: Path) -> None:
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for context in (self.server, self.client):
            context.minimum_version = _VERSIONS[lowest]
            context.set_ciphers(_CIPHERS)
            _load(context, pair, scratch)
            if authorities is not None:
                try:
                    context.load_verify_locations(cadata=authorities.decode("ascii", "replace"))
                except (ssl.SSLError, ValueError):
                    raise ConfigError("the secret authorities is no PEM of certificates") from None
        self.server.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        self.server.num_tickets = 0  # who it is shall be proven with each connection
        self.server.verify_mode = ssl.CERT_NONE if authorities is None else ssl.CERT_OPTIONAL


def fingerprint_of(connection: ssl.SSLObject | None) -> str:
    """Return the SHA-256 of the verified certificate of the other side, empty if it has shown none."""
    shown = connection.getpeercert(binary_form=True) if connection is not None else None
    return hashlib.sha256(shown).hexdigest() if shown else ""


def _load(context: ssl.SSLContext, pair: bytes, scratch: Path) -> None:
    """Load certificates and key: OpenSSL reads files only, so the key is in one for a moment, encrypted."""
    found = _KEY.search(pair)
    if found is None or b"BEGIN CERTIFICATE" not in pair:
        raise ConfigError("the secret certificate is a PEM of the certificate, those above it, and the key")
    password = os.urandom(32).hex().encode()
    path = scratch / ".sip-pair"
    try:
        key = serialization.load_pem_private_key(found[0], None)
        encrypted = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )  # fmt: skip
        path.unlink(missing_ok=True)  # of a process that was killed
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_KEY.sub(b"", pair) + b"\n" + encrypted)
        context.load_cert_chain(path, password=password)
    except (ssl.SSLError, ValueError, TypeError):
        raise ConfigError("the secret certificate has a key that does not open, or is of another certificate") from None
    finally:
        path.unlink(missing_ok=True)
