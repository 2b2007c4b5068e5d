"""Certificate issuing: a signing request in; certificate, issuer key and CA out."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from tlsrt.channels.session.enrolment import EnrolmentAnswer
from tlsrt.config import pki
from tlsrt.errors import NotFound
from tlsrt.supervisor.authority.clients.ca import ClientCA, pinned_ca
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.model.client_registry import Certified, Enrolled
from tlsrt.supervisor.authority.model.context import AuthorityContext

LOCKED = "the host is locked, so no client is enrolled or changed: unlock it first"


class CertificateIssuer:
    """Signs for clients. `wall` is ms."""

    def __init__(self, ca: ClientCA, context: AuthorityContext, door: DoorChange) -> None:
        self._ca = ca
        self._context = context
        self._door = door

    def pinned(self) -> Certificate:
        """Return the CA that clients pin. Raise NotFound with a sentence if this host can enrol no client now."""
        files = self._door.files
        if self._context.state.lock is not None:
            raise NotFound(LOCKED)
        _, signer = self._ca.check(files.authorities)
        if not files.chain:
            raise NotFound("the door has no certificate")
        return pinned_ca(files.chain, files.authorities, signer)

    def certify(self, client: Enrolled, request: bytes, wall: int) -> tuple[EnrolmentAnswer, Certified]:
        """Return what the client gets, and what the registry keeps of it. Raises NotFound, and PeerError for a request
        that is none."""
        pinned = self.pinned()
        key = pki.key_of_request_untrusted(request)
        issuance = self._ca.issue(self._door.files.authorities, client.name, key, client.ttl_ms, wall)
        issuer = self._context.keys.newest.issuer
        answer = EnrolmentAnswer(
            issuer.install, client.name, issuance.certificate, issuer.public, issuer.key_version,
            pinned.public_bytes(Encoding.DER),
        )  # fmt: skip
        return answer, issuance.certified
