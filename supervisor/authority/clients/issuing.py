"""Makes what a client needs out of its signing request: certificate, issuer key and CA, by what is in force now."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from tlsrt.channels.session.enrolment import EnrolmentAnswer
from tlsrt.config import pki
from tlsrt.errors import NotFound
from tlsrt.supervisor.authority.clients.ca import ClientCA, issuer_of
from tlsrt.supervisor.authority.model.client_registry import Certified, Enrolled
from tlsrt.supervisor.authority.service import AuthorityService

LOCKED = "the host is locked, so nobody is let in: unlock it first"


class CertificateIssuer:
    """Signs for clients. `wall` is ms."""

    def __init__(self, ca: ClientCA, service: AuthorityService) -> None:
        self._ca = ca
        self._service = service

    def pinned(self) -> Certificate:
        """Return the CA that clients pin; raise NotFound with a sentence if this host can enrol nobody now."""
        files = self._service.door.files
        if self._service.lock.is_locked:
            raise NotFound(LOCKED)
        self._ca.check(files.authorities)
        if files.own is None:
            raise NotFound("the door has no certificate")
        return issuer_of(files.own, files.authorities)

    def certify(self, client: Enrolled, request: bytes, wall: int) -> tuple[EnrolmentAnswer, Certified]:
        """Return what the client gets, and what the registry keeps of it. Raises NotFound, and PeerError for a request
        that is none."""
        pinned = self.pinned()
        key = pki.key_of_request_untrusted(request)
        issuance = self._ca.issue(self._service.door.files.authorities, client.name, key, client.ttl_ms, wall)
        issuer = self._service.ring.newest.issuer
        answer = EnrolmentAnswer(
            issuer.install, client.name, issuance.certificate, issuer.public, issuer.key_version,
            pinned.public_bytes(Encoding.DER),
        )  # fmt: skip
        return answer, issuance.certified
