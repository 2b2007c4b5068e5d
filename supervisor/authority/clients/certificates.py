"""Client certificates: checks of chain, time, usage, name and fingerprint. Pure.

One step from a configured CA to the client: there are no intermediates to build a path through (RFC 5280, section 6,
for a path of length one).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import (
    BasicConstraints,
    Certificate,
    DuplicateExtension,
    ExtendedKeyUsage,
    Extension,
    ExtensionNotFound,
    ExtensionType,
    InvalidVersion,
    KeyUsage,
    SubjectAlternativeName,
    UnsupportedGeneralNameType,
)

from tlsrt.config.access import ClientConfig
from tlsrt.config.pki import subject_of_client_certificate
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.model.client_registry import Registry
from tlsrt.supervisor.authority.model.crl import RevocationLists

_UNDERSTOOD = (BasicConstraints, KeyUsage, ExtendedKeyUsage, SubjectAlternativeName)
_X509_ERRORS = (ValueError, TypeError, DuplicateExtension, InvalidVersion, UnsupportedGeneralNameType)


class ClientCertificates:
    """The client CAs, and the clients of the configuration and of the registry."""

    def __init__(
        self, authorities: Sequence[Certificate], clients: Iterable[ClientConfig], install: bytes,
        revoked: RevocationLists | None = None, enrolled: Registry | None = None,
    ) -> None:  # fmt: skip
        self.trust(authorities, revoked)
        listed = tuple(clients)
        self._clients = {client.fingerprint: client.name for client in listed}
        self._http = {f"client/{client.name}" for client in listed if client.http}
        self._may = {f"client/{client.name}": frozenset(client.may) for client in listed if not client.http}
        self._install = install
        self._enrolled = enrolled if enrolled is not None else Registry({}, ())

    def trust(self, authorities: Sequence[Certificate], revoked: RevocationLists | None) -> None:
        """Use these CAs and revocation lists from now on."""
        self._authorities = tuple(authorities)
        self._revoked = revoked

    def may_use_http(self, subject: str) -> bool:
        """Tell whether a client was enrolled for HTTP, where Primary holds its session."""
        return subject in self._http or self._enrolled.may_use_http(subject)

    def may(self, subject: str, what: str) -> bool:
        """Tell whether a client may lock or unlock the host."""
        return what in self._may.get(subject, ()) or self._enrolled.may(subject, what)

    def operators(self) -> set[str]:
        """Return the clients that may do something to the host itself, such as unlock it."""
        listed = {subject for subject, may in self._may.items() if may}
        return listed | {
            each.subject for each in self._enrolled if any(self._enrolled.may(each.subject, what) for what in each.may)
        }

    def check_untrusted(self, certificate: Certificate, wall: int) -> tuple[str, bytes]:
        """Return (subject, SHA-256 of the DER) of a client that may come in now; `wall` is ms. Raises PeerError."""
        try:
            return self._check(certificate, datetime.fromtimestamp(wall / 1000, UTC), wall)
        except _X509_ERRORS as error:
            raise PeerError("certificate_shape") from error

    def _check(self, certificate: Certificate, now: datetime, wall: int) -> tuple[str, bytes]:
        if not any(_is_issued_by(certificate, authority, now) for authority in self._authorities):
            raise PeerError("certificate_chain")
        if not _is_valid(certificate, now):
            raise PeerError("certificate_time")
        if self._revoked is not None:
            self._revoked.check(certificate, wall)
        for extension in certificate.extensions:
            _check_extension(extension)
        subject = subject_of_client_certificate(certificate.public_bytes(Encoding.DER), self._install)
        fingerprint = certificate.fingerprint(SHA256())
        if subject != f"client/{self._clients.get(fingerprint) or self._enrolled.name_of(fingerprint)}":
            raise PeerError("certificate_unregistered")
        return subject, fingerprint


def _is_valid(certificate: Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _is_issued_by(certificate: Certificate, authority: Certificate, now: datetime) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
        if not authority.extensions.get_extension_for_class(BasicConstraints).value.ca:
            return False
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, ExtensionNotFound, DuplicateExtension):
        return False
    return _is_valid(authority, now) and _signs_certificates(authority)


def _signs_certificates(authority: Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(KeyUsage).value.key_cert_sign
    except ExtensionNotFound:
        return True


def _check_extension(extension: Extension[ExtensionType]) -> None:
    value = extension.value
    if isinstance(value, KeyUsage) and not value.digital_signature:
        raise PeerError("certificate_usage")
    if extension.critical and not isinstance(value, _UNDERSTOOD):
        raise PeerError("certificate_extension")
