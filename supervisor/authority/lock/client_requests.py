"""Lock requests of clients: `tlsrt lock` and `tlsrt unlock`, signed over a challenge.

Which clients may is said in the configuration, or by `client set`. Primary carries the bytes and cannot take part: it
has no key to sign with, a challenge is good for one connection, once and for 10 s, and what is signed names install,
boot and lock. A Primary that is captured while the host is locked can keep an unlock from arriving, and that is all.
What is refused is one generic word to the client; the reason goes to the log and is an event. The rate of signatures
that are checked is limited for all together; more are answered with `busy`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.client_messages import ClientLockMessage, ClientUnlockMessage
from tlsrt.channels.session.lock_statement import (
    REASON_MAX,
    lock_statement,
    unlock_statement,
    verify_statement_untrusted,
)
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.clients.certificates import ClientCertificates
from tlsrt.supervisor.authority.clients.challenges import Challenges
from tlsrt.supervisor.authority.lock.host_lock import HostLock
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.ports import LoopHandler, Service

TRIES = 40  # signatures that are checked, in a burst
TRIES_S = 20.0  # and a second, at 0.2 ms each: few for the authority, many for one address
REJECTED, BUSY, UNLOCKED, UNCHANGED = "rejected", "busy", "unlocked", "unchanged"


class ClientLockRequests(Service):
    """Handles what Primary passes on."""

    def __init__(
        self, context: AuthorityContext, lock: HostLock, certificates: ClientCertificates, challenges: Challenges
    ) -> None:
        self._context = context
        self._lock = lock
        self._keys = context.keys
        self._certificates = certificates
        self._challenges = challenges
        self._state = context.state
        self._outgoing = context.outgoing
        self._rate = Bucket(TRIES, TRIES_S)

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"unlock": self._on_unlock, "lock": self._on_lock}

    def _on_unlock(self, primary: LoopEntry, message: ClientUnlockMessage, moment: Moment) -> None:
        connection, certificate, signature = message
        issuer, record = self._keys.newest.issuer, self._lock.record

        def statement(challenge: bytes) -> bytes:
            if record is None:
                raise PeerError("not_locked")
            return unlock_statement(issuer.install, issuer.boot, record.lock, challenge)

        subject = self._signer(connection, certificate, statement, signature, "unlock", moment)
        if subject and record is not None:
            done = self._answer_when_done(primary.incarnation, connection, subject)
            self._lock.unlock(record.lock, subject, moment, done)

    def _on_lock(self, primary: LoopEntry, message: ClientLockMessage, moment: Moment) -> None:
        connection, certificate, reason, signature = message
        issuer = self._keys.newest.issuer

        def statement(challenge: bytes) -> bytes:
            if len(reason) > REASON_MAX:
                raise PeerError("oversize")
            return lock_statement(issuer.install, issuer.boot, challenge, reason)

        subject = self._signer(connection, certificate, statement, signature, "lock", moment)
        if subject:
            self._lock.engage(reason, subject, moment)  # the client hears it at the door of a locked host

    def _signer(
        self, connection: int, certificate: bytes, statement: Callable[[bytes], bytes], signature: bytes, what: str,
        moment: Moment,
    ) -> str:  # fmt: skip
        """Return the subject that has signed this and may do it. Empty, and answered already, if there is none."""
        try:
            challenge = self._challenges.take(connection, moment.now)
            if not self._rate.take(moment.now / 1000):
                self._outgoing.send(GATE, "answered", connection, BUSY)
                return ""
            signer = verify_statement_untrusted(certificate, statement(challenge), signature)
            subject, _ = self._certificates.check_untrusted(signer, moment.wall)
            if not self._certificates.may(subject, what):
                raise PeerError(f"may_not_{what}")
            if self._state.is_revoked("subject", subject.encode()):
                raise PeerError("revoked")
        except PeerError as error:
            self._refuse(connection, what, error.reason)
            return ""
        return subject

    def _answer_when_done(self, gate: int, connection: int, subject: str) -> Callable[[str], None]:
        def done(problem: str) -> None:
            if problem:
                self._outgoing.log(f"{subject} could not unlock: {problem}")
            self._context.answer_gate(gate, "answered", connection, UNCHANGED if problem else UNLOCKED)

        return done

    def _refuse(self, connection: int, what: str, reason: str) -> None:
        self._outgoing.log(f"client on connection {connection} may not {what}: {reason}")
        self._context.notes.note(f"{what}_refused", "door", reason)
        self._outgoing.send(GATE, "answered", connection, REJECTED)
