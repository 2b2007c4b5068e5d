"""What a verifier knows: tokens, revocations and whether its feed is alive. One per loop process. Pure.

The gate and every recipient ask the same questions of every message, so they are asked here once: token genuine,
valid now, of this boot and epoch, not revoked, and the header says what the token says.

The feed. A verifier is `unsynchronised`, and refuses everything, until a full snapshot of the revocations has come. A
beat of the feed then says how many there are by now and when that was said, and carries the verifier 3 s on from there,
however late it is read. After 3 s without one, or when something is missing, no beat helps: only another snapshot.

One that rests has said that it wants no feed, and what ends or is revoked meanwhile is sent to it all the same. It
refuses everything after 3 s as well. The answer to its question helps then, as a beat does: it comes in the order of
the channel, behind all that was said before, and the number of revocations must be the one that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from tlsrt.channels.frames.frame import Header
from tlsrt.channels.session.ended_sessions import EndedSessions
from tlsrt.channels.session.revocations import RevokedList
from tlsrt.channels.session.token import Claims, TokenVerifier, check_claims
from tlsrt.errors import PeerError

FEED_SILENCE_MS = 3_000  # a verifier without a feed for so long refuses everything


class Verifier:
    """Checks the token of a message against everything that this process knows.

    `sessions` is how many it can remember what it has verified for: of more than that, each message costs a signature.
    """

    def __init__(self, sessions: int = 2048) -> None:
        self.sessions = sessions
        self.tokens = TokenVerifier(2 * sessions)  # a token comes while that before is still in use
        self.install = b""
        self.boot = b""
        self.epochs: set[int] = set()
        self.revoked = RevokedList()
        self.ended = EndedSessions()
        self.silent_from = 0  # when the feed has been silent for too long, ms
        self.wants_snapshot = False  # the shell asks for one, and says so here
        self.on_change: list[Callable[[], None]] = []  # called when an earlier answer may differ now

    def welcome(self, install: bytes, boot: bytes, issuer: bytes, key_version: int) -> None:
        """Learn the identity of this install and boot from the authority."""
        self.install = install
        self.boot = boot
        self.tokens.set_issuer(key_version, issuer)
        self._changed()

    def _changed(self) -> None:
        for tell in self.on_change:
            tell()

    def add_epoch(self, epoch: int, token_key: bytes, key_version: int | None = None) -> None:
        self.epochs.add(epoch)
        self.tokens.set_key(epoch, token_key, key_version)
        self._changed()

    def drop_epoch(self, epoch: int) -> None:
        self.epochs.discard(epoch)
        self.tokens.drop_epoch(epoch)
        self._changed()

    def revoke(self, number: int, kind: str, value: bytes, now: int) -> None:
        """Learn one revocation."""
        self.revoked.add(number, kind, value, now)
        self._changed()
        self._check_whole()

    def end_sessions(self, sessions: Collection[bytes], now: int) -> None:
        """Take nothing of these sessions any more, and forget what was verified for them.

        Flows need not end: those of a recipient end with what it has heard of a session, the gate's with a connection.
        """
        self.ended.add(sessions, now)
        self.tokens.forget_sessions(sessions)

    def restore(self, number: int, subject: bytes) -> None:
        """Learn that a subject is no longer revoked."""
        self.revoked.restore(number, subject)
        self._changed()
        self._check_whole()

    def snapshot(
        self, serial: int, page: int, pages: int, number: int, when: int, entries: Sequence[Any], now: int
    ) -> bool:
        """Take one page of all revocations, as they were at `when`; the last one synchronises, and returns True.

        Raises PeerError.
        """
        is_last = self.revoked.page(serial, page, pages, number, entries, now)
        if is_last:
            self.silent_from = min(when, now) + FEED_SILENCE_MS
            self._changed()
        self._check_whole()
        return is_last

    def feed(self, number: int, when: int, now: int) -> None:
        """Note a beat of the feed, said at `when`. It counts only where nothing is missing and none was too late."""
        if not self.is_synchronised(now) or number != self.revoked.number:
            self._desynchronise()
        else:
            self.silent_from = max(self.silent_from, min(when, now) + FEED_SILENCE_MS)

    def awake(self, number: int, when: int, now: int) -> None:
        """Take the answer, said at `when`, to a question that was asked after a rest. Nothing may be missing."""
        if self.silent_from and number == self.revoked.number:
            self.silent_from = max(self.silent_from, min(when, now) + FEED_SILENCE_MS)
        else:
            self._desynchronise()

    def is_synchronised(self, now: int) -> bool:
        return now < self.silent_from

    def _check_whole(self) -> None:
        if not self.revoked.is_whole:
            self._desynchronise()

    def _desynchronise(self) -> None:
        self.silent_from = 0
        self.wants_snapshot = True

    def check_untrusted(self, header: Header, token: bytes, now: int) -> Claims:
        """Return the claims of a message's token. Raise PeerError with the reason if it may not be processed."""
        if not self.is_synchronised(now):
            raise PeerError("unsynchronised")
        if header.epoch not in self.epochs:
            raise PeerError("stale_epoch")
        if header.session in self.ended:  # before a signature is verified for it
            raise PeerError("session_ended")
        claims = self.tokens.verify_untrusted(token)
        check_claims(claims, now, self.install, self.boot)
        if claims.epoch != header.epoch:
            raise PeerError("wrong_epoch")
        if claims.session != header.session:
            raise PeerError("wrong_session")
        if claims.subject != header.src:
            raise PeerError("wrong_source")
        if self.revoked.has(claims.session, claims.token_id, claims.subject):
            raise PeerError("revoked")
        if self.revoked.has_subject(header.dst):
            raise PeerError("unavailable")  # what is revoked is not called, either
        return claims


def check_deadline(header: Header, now: int, longest_ms: int) -> None:
    """Raise PeerError if the deadline of a message has passed or lies further ahead than allowed."""
    if now >= header.deadline:
        raise PeerError("deadline")
    if header.deadline > now + longest_ms:
        raise PeerError("deadline_too_far")
