"""What a verifier knows: tokens, revocations and whether its feed is alive. One per loop process. Pure.

The gate and every recipient ask the same questions of every message, so they are asked here once: token genuine,
valid now, of this boot and epoch, not revoked, and the header says what the token says.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.frame import Header
from tlsrt.channels.token import Claims, TokenVerifier, check_claims
from tlsrt.errors import PeerError

FEED_SILENCE_MS = 3_000  # a verifier that hears nothing for so long refuses everything


class Verifier:
    """Checks the token of a message against everything that this process knows."""

    def __init__(self) -> None:
        self.tokens = TokenVerifier()
        self.install = b""
        self.boot = b""
        self.epochs: set[int] = set()
        self._revoked: dict[str, set[bytes]] = {"session": set(), "token": set(), "subject": set()}
        self.revocation = 0
        self.silent_from = 0  # when the feed has been silent for too long, ms
        self.on_change: list[Callable[[], None]] = []  # who is told when an answer of before may differ now

    def welcome(self, install: bytes, boot: bytes, issuer: bytes, key_version: int) -> None:
        """Learn the identity of this install and boot from the authority."""
        self.install = install
        self.boot = boot
        self.tokens.set_issuer(key_version, issuer)
        self._changed()

    def _changed(self) -> None:
        for tell in self.on_change:
            tell()

    def add_epoch(self, epoch: int, token_key: bytes) -> None:
        self.epochs.add(epoch)
        self.tokens.set_key(epoch, token_key)
        self._changed()

    def drop_epoch(self, epoch: int) -> None:
        self.epochs.discard(epoch)
        self.tokens.drop_epoch(epoch)
        self._changed()

    def revoke(self, number: int, kind: str, value: bytes) -> None:
        """Learn one revocation; an unknown kind from a newer authority fails closed by silencing the feed."""
        if kind not in self._revoked:
            self.silent_from = 0
            return
        self._revoked[kind].add(value)
        self._changed()
        self.revocation = max(self.revocation, number)

    def feed(self, number: int, now: int) -> None:
        """Note a beat of the feed; one that counts more revocations than have arrived does not count."""
        if number <= self.revocation:
            self.silent_from = now + FEED_SILENCE_MS

    def is_synchronised(self, now: int) -> bool:
        return now < self.silent_from

    def check_untrusted(self, header: Header, token: bytes, now: int) -> Claims:
        """Return the claims of a message's token; raise PeerError with the reason if it may not be processed."""
        if not self.is_synchronised(now):
            raise PeerError("unsynchronised")
        if header.epoch not in self.epochs:
            raise PeerError("stale_epoch")
        claims = self.tokens.verify_untrusted(token)
        check_claims(claims, now, self.install, self.boot)
        if claims.epoch != header.epoch:
            raise PeerError("wrong_epoch")
        if claims.session != header.session:
            raise PeerError("wrong_session")
        if claims.subject != header.src:
            raise PeerError("wrong_source")
        revoked = self._revoked
        if (
            claims.session in revoked["session"]
            or claims.token_id in revoked["token"]
            or claims.subject.encode() in revoked["subject"]
        ):
            raise PeerError("revoked")
        return claims


def check_deadline(header: Header, now: int, longest_ms: int) -> None:
    """Raise PeerError if the deadline of a message has passed or lies further ahead than allowed."""
    if now >= header.deadline:
        raise PeerError("deadline")
    if header.deadline > now + longest_ms:
        raise PeerError("deadline_too_far")
