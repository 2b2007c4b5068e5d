"""Revocation lists of a test's CA."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tlsrt.config.pki import Issued


def make_crl(
    ca: Issued,
    revoked: Iterable[bytes] = (),
    *,
    begins: timedelta = timedelta(0),
    lasts: timedelta = timedelta(days=30),
) -> bytes:
    """Return a list, PEM, that revokes these certificates (PEM); `begins` is from now."""
    authority = x509.load_pem_x509_certificate(ca.certificate_pem)
    start = datetime.now(UTC) + begins
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject)
    builder = builder.last_update(start).next_update(start + lasts)
    for pem in revoked:
        serial = x509.load_pem_x509_certificate(pem).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
        builder = builder.add_revoked_certificate(entry)
    key = serialization.load_pem_private_key(ca.key_pem, None)
    made = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]  # it is one of those that can
    return made.public_bytes(serialization.Encoding.PEM)
