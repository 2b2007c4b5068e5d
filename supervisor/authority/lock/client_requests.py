"""`tlsrt lock` and `tlsrt unlock`: a client that may has signed the authority's challenge.

Who may is said in the configuration, or by `client set`. Primary carries the bytes and cannot take part: it has no key
to sign with, a challenge is good for one connection, once and for 10 s, and what is signed names install, boot and
lock. A Primary that is captured while the host is locked can keep an unlock from arriving, and that is all. What is
refused is one generic word to the client; the reason goes to the log and is an event. So many tries a second are looked
at, whoever makes them; the others are told to come again.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.control.trust import ClientLockMessage, ClientUnlockMessage
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
from tlsrt.supervisor.authority.keys.key_ring import KeyRing
from tlsrt.supervisor.authority.lock.host_lock import HostLock
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.primary_messages import Handler

TRIES = 40  # signatures that are looked at, in a burst
TRIES_S = 20.0  # and a second, at 0.2 ms each: few for the authority, many for whoever comes from one address
REJECTED, BUSY, UNLOCKED, UNCHANGED = "rejected", "busy", "unlocked", "unchanged"


class ClientLockRequests:
    """The handlers of Primary's messages. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(
        self, lock: HostLock, ring: KeyRing, certificates: ClientCertificates, challenges: Challenges,
        state: AuthorityState, outlet: Outgoing,
    ) -> None:  # fmt: skip
        self._lock = lock
        self._ring = ring
        self._certificates = certificates
        self._challenges = challenges
        self._state = state
        self._outlet = outlet
        self._allowance = Bucket(TRIES, TRIES_S)
        self.handlers: dict[str, Handler] = {"unlock": self._on_unlock, "lock": self._on_lock}

    def _on_unlock(self, primary: LoopEntry, message: ClientUnlockMessage, now: int, wall: int) -> None:
        connection, certificate, signature = message
        issuer, record = self._ring.newest.issuer, self._lock.record

        def statement(challenge: bytes) -> bytes:
            if record is None:
                raise PeerError("not_locked")
            return unlock_statement(issuer.install, issuer.boot, record.lock, challenge)

        subject = self._signer(connection, certificate, statement, signature, "unlock", now, wall)
        if subject and record is not None:
            done = self._answer_when_done(connection, subject)
            self._lock.unlock(record.lock, subject, now, wall, done)

    def _on_lock(self, primary: LoopEntry, message: ClientLockMessage, now: int, wall: int) -> None:
        connection, certificate, reason, signature = message
        issuer = self._ring.newest.issuer

        def statement(challenge: bytes) -> bytes:
            if len(reason) > REASON_MAX:
                raise PeerError("oversize")
            return lock_statement(issuer.install, issuer.boot, challenge, reason)

        subject = self._signer(connection, certificate, statement, signature, "lock", now, wall)
        if subject:
            self._lock.engage(reason, subject, now, wall)  # the client hears it at the door of a locked host

    def _signer(
        self, connection: int, certificate: bytes, statement: Callable[[bytes], bytes], signature: bytes, what: str,
        now: int, wall: int,
    ) -> str:  # fmt: skip
        """Return who has signed this and may do it; nobody, and answered already, if that is not so."""
        try:
            challenge = self._challenges.take(connection, now)
            if not self._allowance.take(now / 1000):
                self._outlet.send(GATE, "answered", connection, BUSY)
                return ""
            signer = verify_statement_untrusted(certificate, statement(challenge), signature)
            subject, _ = self._certificates.check_untrusted(signer, wall)
            if not self._certificates.may(subject, what):
                raise PeerError(f"may_not_{what}")
            if self._state.is_revoked("subject", subject.encode()):
                raise PeerError("revoked")
        except PeerError as error:
            self._refuse(connection, what, error.reason)
            return ""
        return subject

    def _answer_when_done(self, connection: int, subject: str) -> Callable[[str], None]:
        def done(problem: str) -> None:
            if problem:
                self._outlet.log(f"{subject} could not unlock: {problem}")
            self._outlet.send(GATE, "answered", connection, UNCHANGED if problem else UNLOCKED)

        return done

    def _refuse(self, connection: int, what: str, reason: str) -> None:
        self._outlet.log(f"client on connection {connection} may not {what}: {reason}")
        self._lock.notes.note(f"{what}_refused", "door", reason)
        self._outlet.send(GATE, "answered", connection, REJECTED)
