"""Client sessions: challenge, open, grant, and every later push. Primary only carries the bytes.

What is refused is answered with one generic word; the reason goes to the log. Pushes are queued by session and sent in
small rounds, so that a thousand clients never hold up revocations and the feed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, load_der_x509_certificate

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.budget import Budget, budget_of
from tlsrt.channels.clock import Moment
from tlsrt.channels.session.grant import (
    CERTIFICATE_MAX,
    encode_grant,
    open_digest,
    parse_open_untrusted,
    seal_grant,
    verify_open,
)
from tlsrt.config import door_places
from tlsrt.errors import QUARANTINED, MisuseError, PeerError, quarantined_word
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.clients.certificates import ClientCertificates
from tlsrt.supervisor.authority.clients.challenges import Challenges
from tlsrt.supervisor.authority.clients.session_budget import SessionBudget
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import GATE
from tlsrt.supervisor.authority.model.ports import OPENING, Service
from tlsrt.supervisor.authority.sessions.key_messages import KeyMessages
from tlsrt.supervisor.authority.sessions.manager import Session

REJECTED = "rejected"  # the one word that a peer gets
BUSY = "busy"  # or this one, when the host has no time or room for it: come again
PUSHES_PER_ROUND = 32  # about 10 ms: an HPKE encryption and a signature each
REFUSALS = 64  # at once that are recorded each, and then one a second with the number of those before
LINES = 4  # at once about clients that have to come again, and then one a second
NUMBER_BITS = 40  # grants per life of the authority, below the count of its lives


@dataclass(slots=True)
class _Client:
    """What ties a session to its open."""

    session: Session
    connection: int
    digest: bytes = b""
    ephemeral: bytes = field(default=b"", repr=False)
    is_delegated: bool = False  # to Primary: its client cannot seal
    certificate: Certificate | None = None
    is_admitted: bool = False  # its opening is recorded: it may have grants


class ClientSessionsOwner(Protocol):
    """What has to know that a client has its session."""

    def client_opened(self, session: Session, moment: Moment) -> None: ...


class ClientSessions(Service):
    """All external sessions."""

    def __init__(
        self,
        context: AuthorityContext,
        messages: KeyMessages,
        certificates: ClientCertificates,
        owner: ClientSessionsOwner,
    ) -> None:
        self._context = context
        self._keys = context.keys
        self._messages = messages
        self._certificates = certificates
        self.challenges = Challenges(context.randomness)
        self._manager = context.sessions
        self._epochs = context.epochs
        self._state = context.state
        self._outgoing = context.outgoing
        self._owner = owner
        limits = context.config.limits
        self._budget = SessionBudget(limits)
        self._clients: BoundedTable[bytes, _Client] = BoundedTable(
            context.config.door.max_connections + door_places.OPERATORS, limits.sessions_per_client, WhenFull.REFUSE
        )
        self._lines = Bucket(LINES, 1)  # of the log
        self._refusals = Bucket(REFUSALS, 1)  # that are recorded
        self._unrecorded = 0
        self._over: dict[tuple[str, Budget], None] = {}  # who was over which budget, since `take_over_budget`
        self._by_connection: dict[int, bytes] = {}
        self._wanted: dict[bytes, None] = {}  # sessions that are owed a grant, the oldest first
        self._number = context.state.boots << NUMBER_BITS

    def challenge(self, connection: int, now: int) -> None:
        """Answer a connection with a challenge."""
        self._outgoing.send(GATE, "challenged", connection, self.challenges.make(connection, now))

    def open(self, connection: int, data: bytes, signature: bytes, moment: Moment) -> None:
        """Answer with a grant, once it is recorded, or a refusal."""
        try:
            client = self._open_untrusted(connection, data, signature, moment)
        except PeerError as error:
            self._refuse(connection, error.reason, moment)
            return
        self._record(client, moment)

    def delegate(self, connection: int, certificate: bytes, moment: Moment) -> None:
        """Give Primary the session of a client that was enrolled for HTTP, once it is recorded.

        That the client's TLS has shown this certificate is Primary's word alone: a captured one can act as any such
        client, and as no other.
        """
        try:
            shown = _certificate_untrusted(certificate)
            subject, fingerprint = self._certificates.check_untrusted(shown, moment.wall)
            if not self._certificates.may_use_http(subject):
                raise PeerError("not_enrolled_for_http")
            client = self._new_client(connection, subject, fingerprint, moment.now)
            client.is_delegated, client.certificate = True, shown
        except PeerError as error:
            self._refuse(connection, error.reason, moment)
            return
        self._record(client, moment)

    def _record(self, client: _Client, moment: Moment) -> None:
        """Have the opening written down. A session whose record is not on the disk has no grant and no effect."""
        session = client.session
        detail: dict[str, str | int] = {
            "session": session.session_id.hex(), "certificate": session.confirmation.hex(),
            "http": int(client.is_delegated),
        }  # fmt: skip
        self._context.recorder.before(
            "session_opened", session.subject, detail, moment, lambda: self._admit(client),
            lambda sentence: self._turn_away(client, sentence), OPENING,
        )  # fmt: skip

    def _admit(self, client: _Client) -> None:
        if self._of(client.session.session_id) is not client:
            return  # it ended meanwhile: its connection closed, or it was revoked
        client.is_admitted = True
        moment = self._context.moment()  # the disk may have taken seconds
        try:
            self._grant(client, moment.now)
        except PeerError as error:
            self._refuse(client.connection, error.reason, moment)
            return
        self._manager.opened(client.session)
        self._owner.client_opened(client.session, moment)

    def _turn_away(self, client: _Client, sentence: str) -> None:
        """Ask a client to come again: it has done nothing wrong, and nothing is held against it."""
        if self._of(client.session.session_id) is client:
            self.close(client.session.session_id)
            self._come_again(client.connection, sentence, self._context.now)

    def on_connection(self, connection: int) -> tuple[Session, bytes]:
        """Return the session that a connection carries for a client, and its certificate, DER. Raises PeerError."""
        client = self._of(self._by_connection.get(connection, b""))
        if client is None or client.is_delegated or client.certificate is None:
            raise PeerError("no_session_there")
        return client.session, client.certificate.public_bytes(Encoding.DER)

    def close(self, session_id: bytes) -> None:
        """End a session whose connection ended; one that is unknown has ended already."""
        client = self._forget(session_id)
        if client is not None:
            self._manager.close(client.session)

    def close_all(self) -> None:
        """End all sessions: Primary died, and their connections with it."""
        for row in list(self._clients):
            self.close(row.key)
        self.challenges.clear()

    def ended(self, session: Session) -> None:
        """Let the connection of a session that the manager ended be closed."""
        if self._forget(session.session_id) is not None:
            self._outgoing.send(GATE, "ended", session.session_id)

    def push(self, session: Session) -> None:
        """Owe a session a grant."""
        client = self._of(session.session_id)
        if client is not None and client.is_admitted:
            self._wanted[session.session_id] = None

    def push_all(self, components: tuple[str, ...] | None = None) -> None:
        """Owe a grant to all, or to those that may talk to one of these components."""
        for client in [row.value for row in self._clients]:
            if not client.is_admitted:
                continue
            if components is None or self._messages.concerns(client.session.subject, components):
                self._wanted[client.session.session_id] = None

    def unwelcome(self, wall: int) -> list[Session]:
        """Return the sessions of clients that would not be let in now, by their certificates."""
        found: list[Session] = []
        for client in [row.value for row in self._clients]:
            try:
                if client.certificate is not None:
                    self._certificates.check_untrusted(client.certificate, wall)
            except PeerError as error:
                self._outgoing.log(
                    f"session {client.session.session_id.hex()} of {client.session.subject}: {error.reason}"
                )
                found.append(client.session)
        return found

    def next_due(self) -> int | None:
        return 0 if self._wanted and not self._outgoing.is_blocked(GATE) else None

    def tick(self, moment: Moment) -> None:
        """Make a round of owed grants."""
        for session_id in list(self._wanted)[:PUSHES_PER_ROUND]:
            if self._outgoing.is_blocked(GATE):
                return
            del self._wanted[session_id]
            client = self._of(session_id)
            if client is None:
                continue
            try:
                self._grant(client, moment.now)
            except PeerError as error:
                self._outgoing.log(f"session {session_id.hex()} cannot be granted anew: {error.reason}")
                self._outgoing.send(GATE, "ended", session_id)

    def _open_untrusted(self, connection: int, data: bytes, signature: bytes, moment: Moment) -> _Client:
        wish = parse_open_untrusted(data)
        self.challenges.use(connection, wish.challenge, moment.now)
        issuer = self._keys.newest.issuer
        if wish.install != issuer.install:
            raise PeerError("open_install")
        if wish.boot != issuer.boot:
            raise PeerError("open_boot")
        certificate = verify_open(wish, data, signature)
        subject, fingerprint = self._certificates.check_untrusted(certificate, moment.wall)
        client = self._new_client(connection, subject, fingerprint, moment.now)
        client.digest, client.ephemeral, client.certificate = open_digest(data), wish.ephemeral_public, certificate
        return client

    def _new_client(self, connection: int, subject: str, fingerprint: bytes, now: int) -> _Client:
        if self._state.is_revoked("subject", subject.encode()):
            left_ms = self._state.response.quarantine_left_ms(subject, now)
            raise PeerError(quarantined_word(left_ms) if left_ms > 0 else "revoked")
        previous = self._by_connection.get(connection)
        if previous is not None:  # a session sits on one connection, and a connection carries one session
            self.close(previous)
        present = (row.value.session for row in self._clients.rows_of(subject))
        try:
            silent = self._budget.take(subject, present, now)
        except PeerError as error:
            self._over[subject, Budget(error.reason)] = None
            raise
        if silent is not None:
            self._manager.close(silent)
            self.ended(silent)
        if len(self._clients) >= self._clients.most:
            raise PeerError("too_many_sessions")
        session = self._manager.open_client(subject, fingerprint, now)
        client = _Client(session, connection)
        self._clients.add(session.session_id, client, subject)
        self._by_connection[connection] = session.session_id
        return client

    def _grant(self, client: _Client, now: int) -> None:
        session = client.session
        try:
            epoch = self._epochs.serving
            content = self._messages.grant(session, epoch, now, grace_ms=self._epochs.grace_ms)
            if client.is_delegated:
                self._outgoing.send(GATE, "delegated", client.connection, encode_grant(content))
                return
            self._number += 1
            sign = self._keys.of(epoch).issuer.sign
            sealed = seal_grant(encode_grant(content), client.digest, client.ephemeral, self._number, sign)
        except (PeerError, MisuseError) as error:
            self.close(session.session_id)
            raise PeerError(error.reason if isinstance(error, PeerError) else "grant_too_large") from error
        self._outgoing.send(
            GATE, "granted", client.connection, self._number, *sealed, session.session_id, session.subject,
            content.token,
        )  # fmt: skip

    def take_over_budget(self) -> list[tuple[str, Budget]]:
        """Return which client was over which budget, each once since the last call."""
        over, self._over = list(self._over), {}
        return over

    def _refuse(self, connection: int, reason: str, moment: Moment) -> None:
        if budget_of(reason) or reason == "too_many_sessions":  # the client has only to wait: no record for each time
            self._come_again(connection, reason, moment.now)
            return
        word = reason if reason.startswith(QUARANTINED) else REJECTED  # it has proved whose key it holds
        is_recorded = self._refusals.take(moment.now / 1000)  # its log is not for those to fill who get no session
        if is_recorded:
            self._outgoing.log(f"client on connection {connection} was refused: {reason}")
        self._outgoing.send(GATE, "refused", connection, word)
        if not is_recorded:
            self._unrecorded += 1
            return
        self._context.notes.note("client_refused", "door", reason)
        detail: dict[str, str | int] = {"reason": reason}
        if self._unrecorded:
            detail["others_before"] = self._unrecorded
            self._unrecorded = 0
        self._context.recorder.note("client_refused", "door", detail, moment)

    def _come_again(self, connection: int, reason: str, now: int) -> None:
        if self._lines.take(now / 1000):
            self._outgoing.log(f"client on connection {connection} has to come again: {reason}")
        self._outgoing.send(GATE, "refused", connection, BUSY)

    def _of(self, session_id: bytes) -> _Client | None:
        row = self._clients.get(session_id)
        return row.value if row is not None else None

    def _forget(self, session_id: bytes) -> _Client | None:
        row = self._clients.remove(session_id)
        client = row.value if row is not None else None
        if client is not None:
            self._wanted.pop(session_id, None)
            if self._by_connection.get(client.connection) == session_id:
                del self._by_connection[client.connection]
        return client


def _certificate_untrusted(data: bytes) -> Certificate:
    try:
        return load_der_x509_certificate(data[: CERTIFICATE_MAX + 1])
    except Exception as error:  # of many kinds, and all of them mean the same
        raise PeerError("certificate_shape") from error
