"""A bundle of a client, made once for the files that take it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsrt.config import pki
from tlsrt.config.bundle import Bundle


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    install, now = b"i" * 16, datetime.now(UTC)
    ca = pki.make_ca(install, now)
    client = pki.issue_client(ca, install, "admin", now)
    issuer = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Bundle(
        1, install, "admin", "localhost", 1, "localhost", ca.certificate_pem, client.certificate_pem, client.key_pem,
        issuer,
    )  # fmt: skip
