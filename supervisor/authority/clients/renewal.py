"""Certificate renewal: an enrolled client gets another certificate over its session. Pure.

Primary carries the bytes. What it cannot do is sign with the client's key, which names session and signing request; and
each session renews once, so that what was captured is of no use. The certificate in use ends when the new one is used.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.client_messages import RenewMessage
from tlsrt.channels.session.certificate_renewal import renew_statement, renewed_statement
from tlsrt.channels.session.lock_statement import verify_statement_untrusted
from tlsrt.errors import NotFound, PeerError
from tlsrt.supervisor.authority.clients.issuing import LOCKED, CertificateIssuer
from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.model.client_registry import PENDING_MAX, Registry, with_certificate
from tlsrt.supervisor.authority.model.context import NOT_WRITTEN, AuthorityContext, Undo
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.model.ports import LoopHandler, Service
from tlsrt.supervisor.messages.result_codes import ResultCode


class CertificateRenewals(Service):
    """Handles `renew`."""

    def __init__(
        self, context: AuthorityContext, registry: Registry, issuer: CertificateIssuer, clients: ClientSessions
    ) -> None:
        self._context = context
        self._registry = registry
        self._issuer = issuer
        self._clients = clients
        self._outgoing = context.outgoing
        self._served: set[bytes] = set()  # sessions that have renewed

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"renew": self._on_renew}

    def _on_renew(self, primary: LoopEntry, message: RenewMessage, moment: Moment) -> None:
        """Answer with a certificate, or with nothing."""
        connection, request, signature = message
        try:
            self._renew(primary.incarnation, connection, request, signature, moment)
        except (PeerError, NotFound) as error:
            self._refuse(primary.incarnation, connection, str(error))

    def _renew(self, gate: int, connection: int, request: bytes, signature: bytes, moment: Moment) -> None:
        session, shown = self._clients.on_connection(connection)
        issuer = self._context.keys.of(self._context.epochs.serving).issuer
        statement = renew_statement(issuer.install, issuer.boot, session.session_id, request)
        verify_statement_untrusted(shown, statement, signature)
        client = self._registry.living(session.subject)
        if client is None:
            raise NotFound("renewal_of_a_listed_client")
        if session.session_id in self._served:
            raise PeerError("renewal_twice")
        answer, certified = self._issuer.certify(client, request, moment.wall)
        self._served = {each for each in self._served if self._context.sessions.find(each) is not None} | {
            session.session_id
        }

        def change() -> Undo:
            if self._context.state.lock is not None:
                raise NotFound(LOCKED)
            present = self._registry.living(session.subject)
            if present is None:
                raise NotFound("renewal_of_nobody")
            self._registry.put(with_certificate(present, certified, PENDING_MAX))
            return lambda: self._registry.put(present)

        def done() -> None:
            self._context.notes.note("client_renewed", client.subject, "", serial=certified.serial)
            signature = issuer.sign(renewed_statement(statement, answer.certificate))
            self._context.answer_gate(gate, "renewed", connection, answer.certificate, signature)

        def refused(code: ResultCode, sentence: str) -> None:
            self._refuse(gate, connection, "renewal_unwritten" if sentence == NOT_WRITTEN else sentence)

        detail = {"serial": certified.serial}
        self._context.transact("client_renewed", client.subject, detail, moment, change, done, refused)

    def _refuse(self, gate: int, connection: int, reason: str) -> None:
        self._outgoing.log(f"the client on connection {connection} got no other certificate: {reason}")
        self._context.answer_gate(gate, "renewed", connection, b"", b"")
