"""How a client gets another certificate, over a session that it has: what is signed by whom. Pure.

The client signs with the key of the certificate that it has, and names its session, so that what is captured is good
for nothing else. The issuer signs the answer, so that Primary, which carries it, can change nothing.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import load_der_x509_certificate

from tlsrt.channels.session.grant import sign_as
from tlsrt.config import pki
from tlsrt.errors import PeerError

RENEW_DOMAIN = b"tlsrt/renew/v1\0"
RENEWED_DOMAIN = b"tlsrt/renewed/v1\0"
SHARE = 2 / 3  # of its life, after which a certificate is renewed
JITTER = 0.05  # of its life, to either side, so that those who came together do not come together again
RETRY_LEAST_S = 60.0


class Renewed(NamedTuple):
    """A new certificate and its key, PEM."""

    certificate_pem: bytes
    key_pem: bytes


def renew_statement(install: bytes, boot: bytes, session: bytes, request: bytes) -> bytes:
    """Return what the client signs: three fields of 16 bytes, and its signing request."""
    return RENEW_DOMAIN + install + boot + session + request


def renewed_statement(statement: bytes, certificate: bytes) -> bytes:
    """Return what the issuer signs: this certificate, DER, is the answer to that statement."""
    return RENEWED_DOMAIN + hashlib.sha256(statement).digest() + certificate


def check_renewed_untrusted(issuer: bytes, statement: bytes, certificate: bytes, signature: bytes) -> None:
    """Raise PeerError if the issuer did not sign this certificate as the answer to that statement."""
    try:
        said = renewed_statement(statement, certificate)
        Ed25519PublicKey.from_public_bytes(issuer).verify(signature, said)
    except (InvalidSignature, ValueError) as error:
        raise PeerError("renewal_signature") from error


class Renewing:
    """One renewal, from the request to the answer. `private_key` is that of the present certificate, DER."""

    def __init__(self, private_key: object, certificate: bytes, install: bytes, boot: bytes, session: bytes) -> None:
        self._subject = pki.subject_of_client_certificate(certificate, install)
        self._install = install
        self.request, self._key_pem = pki.make_request()
        self._statement = renew_statement(install, boot, session, self.request)
        self.signature = sign_as(private_key, self._statement)

    def accept_untrusted(self, issuer: bytes, certificate: bytes, signature: bytes) -> Renewed:
        """Return the new certificate and key. Raise PeerError for any that the issuer did not make for this."""
        check_renewed_untrusted(issuer, self._statement, certificate, signature)
        if not pki.belongs_to(certificate, self.request):
            raise PeerError("renewal_key")
        if pki.subject_of_client_certificate(certificate, self._install) != self._subject:
            raise PeerError("renewal_name")
        return Renewed(pki.pem_of(certificate), self._key_pem)


def due_in_s(certificate: bytes, now: datetime, chance: float) -> float:
    """Return in how many seconds a certificate, DER, is to be renewed; `chance` is 0 to 1. Never before a retry."""
    parsed = load_der_x509_certificate(certificate)
    begins, ends = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    life = (ends - begins).total_seconds()
    passed = (now.astimezone(UTC) - begins).total_seconds()
    return max(0.0, life * (SHARE + JITTER * (2 * chance - 1)) - passed)


def retry_in_s(certificate: bytes, now: datetime) -> float:
    """Return when a renewal that failed is tried again: after a tenth of what is left."""
    left = (load_der_x509_certificate(certificate).not_valid_after_utc - now.astimezone(UTC)).total_seconds()
    return max(RETRY_LEAST_S, left / 10)
