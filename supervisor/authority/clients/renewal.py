"""What the authority does for an enrolled client that wants another certificate, over a session that it has.

Primary carries the bytes. What it cannot do is sign with the client's key, which names session and signing request; and
each session renews once, so that what was captured is of no use. The certificate in use ends when the new one is used.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.control.trust import RenewMessage
from tlsrt.channels.session.certificate_renewal import renew_statement, renewed_statement
from tlsrt.channels.session.lock_statement import verify_statement_untrusted
from tlsrt.errors import NotFound, PeerError
from tlsrt.supervisor.authority.clients.issuing import CertificateIssuer
from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.keys.issuer import Issuer
from tlsrt.supervisor.authority.model.client_registry import PENDING_MAX, Registry, with_certificate
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.service import AuthorityService
from tlsrt.supervisor.authority.sessions.manager import SessionManager


class CertificateRenewals:
    """Answers `renew`. `issuer` returns the one that clients go by now. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(
        self, registry: Registry, certifier: CertificateIssuer, clients: ClientSessions, manager: SessionManager,
        service: AuthorityService, issuer: Callable[[], Issuer], persist: Callable[[], bool], outlet: Outgoing,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._certifier = certifier
        self._clients = clients
        self._manager = manager
        self._service = service
        self._issuer = issuer
        self._persist = persist
        self._outlet = outlet
        self._served: set[bytes] = set()  # sessions that have renewed

    def renew(self, primary: LoopEntry, message: RenewMessage, now: int, wall: int) -> None:
        """Answer with a certificate, or with nothing."""
        connection, request, signature = message
        try:
            self._renew(connection, request, signature, now, wall)
        except (PeerError, NotFound) as error:
            self._refuse(connection, str(error))

    def _renew(self, connection: int, request: bytes, signature: bytes, now: int, wall: int) -> None:
        session, shown = self._clients.on_connection(connection)
        issuer = self._issuer()
        statement = renew_statement(issuer.install, issuer.boot, session.session_id, request)
        verify_statement_untrusted(shown, statement, signature)
        client = self._registry.living(session.subject)
        if client is None:
            raise NotFound("renewal_of_a_listed_client")
        if session.session_id in self._served:
            raise PeerError("renewal_twice")
        answer, certified = self._certifier.certify(client, request, wall)
        self._served = {each for each in self._served if self._manager.find(each) is not None} | {session.session_id}

        def then() -> None:
            present = self._registry.living(session.subject)
            if present is None:
                self._refuse(connection, "renewal_of_nobody")
                return
            self._registry.put(with_certificate(present, certified, PENDING_MAX))
            if not self._persist():
                self._registry.put(present)
                self._refuse(connection, "renewal_unwritten")
                return
            self._service.revoking.notes.note("client_renewed", client.subject, "", serial=certified.serial)
            said = renewed_statement(statement, answer.certificate)
            self._outlet.send(GATE, "renewed", connection, answer.certificate, issuer.sign(said))

        self._service.audit.before(
            "client_renewed", client.subject, {"serial": certified.serial}, now, wall, then,
            lambda sentence: self._refuse(connection, sentence),
        )  # fmt: skip

    def _refuse(self, connection: int, reason: str) -> None:
        self._outlet.log(f"the client on connection {connection} got no other certificate: {reason}")
        self._outlet.send(GATE, "renewed", connection, b"", b"")
