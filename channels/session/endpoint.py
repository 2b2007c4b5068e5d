"""An endpoint: one session and its keys. It seals what the session says and opens what it is told. Pure.

Theory of operation. `keys.py` holds the keys of each epoch, `sealing.py` seals with them, and here is opened.
Every frame names the epoch whose keys it uses. Opening follows one order: token, addressee, epoch, incarnation, right,
body, and only then the sequence, which therefore moves only for authentic frames.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frames.frame import BUNDLES, DEADLINE_MAX_MS, FROM_REQUESTER, Frame, FrameKind, Header, nonce
from tlsrt.channels.session.keys import REMOTE_SESSIONS_MAX, EpochKeys
from tlsrt.channels.session.sealing import Sealing
from tlsrt.channels.session.token import Claims
from tlsrt.channels.session.verifier import Verifier, check_deadline
from tlsrt.config import key_schedule
from tlsrt.errors import PeerError

SLACK_MS = 5_000  # an external client's clock offset is known only to a round trip


class OpenedFrame(NamedTuple):
    """One authentic frame."""

    header: Header
    body: bytes
    claims: Claims | None  # None where tokens are opaque: at external clients


class Endpoint(Sealing):
    """One session of one subject. `verifier` is None for external clients, to whom tokens are opaque."""

    def __init__(self, subject: str, verifier: Verifier | None = None) -> None:
        super().__init__(subject)
        self._verifier = verifier

    def open_untrusted(self, frame: Frame, header: Header, now: int) -> OpenedFrame:
        """Return an authentic frame that is meant for us; raise PeerError with the reason otherwise."""
        if header.kind == FrameKind.REFUSAL:
            return self._refusal_untrusted(frame, header)
        if self._verifier is None and header.kind in BUNDLES:
            raise PeerError("unknown_kind")  # they are the loops' own
        claims = self._verifier.check_untrusted(header, frame.token, now) if self._verifier else None
        if header.dst != self.subject:
            raise PeerError("not_mine")
        check_deadline(header, now, DEADLINE_MAX_MS + SLACK_MS)
        key = self.opening_key_untrusted(header, claims)
        try:
            body = key.decrypt(nonce(header.seq), frame.body, frame.header)
        except InvalidTag as error:
            raise PeerError("body_forged") from error
        self._advance_untrusted(header, claims.expires if claims else now + DEADLINE_MAX_MS + SLACK_MS)
        return OpenedFrame(header, body, claims)

    def opening_key_untrusted(self, header: Header, claims: Claims | None) -> AESGCM:
        """Return the key that opens the body of a frame to us; raise PeerError if it may not be here."""
        held = self._epochs.get(header.epoch)
        if held is None:
            raise PeerError("stale_epoch")
        if header.kind in FROM_REQUESTER:
            return self._request_key_untrusted(header, held, claims)
        return self._reply_key_untrusted(header, held)

    def _refusal_untrusted(self, frame: Frame, header: Header) -> OpenedFrame:
        """A refusal is the gate's unsealed word: it can end one of our calls and nothing else."""
        if header.dst != self.subject or header.correlation[:16] != self.session or len(frame.body) > 32:
            raise PeerError("bad_refusal")
        return OpenedFrame(header, frame.body, None)

    def _request_key_untrusted(self, header: Header, held: EpochKeys, claims: Claims | None) -> AESGCM:
        if claims is None:
            raise PeerError("request_to_client")  # external clients have no mailbox
        if header.mailbox != held.mailbox:
            raise PeerError("stale_mailbox")
        if not claims.allows(self.subject, header.method):
            raise PeerError("not_allowed")
        return self._keys_with(header.session, header.epoch, held)[0]

    def _reply_key_untrusted(self, header: Header, held: EpochKeys) -> AESGCM:
        right = held.rights.get(header.src)
        if (
            right is None
            or not right.mailbox
            or header.mailbox != right.mailbox
            or header.correlation[:16] != self.session
        ):
            raise PeerError("unasked_reply")
        index = (header.src, header.session, header.epoch, right.mailbox)
        key = self._reply_keys.get(index)
        if key is None:
            if len(self._reply_keys) >= REMOTE_SESSIONS_MAX:
                self._reply_keys.clear()  # derived again at need
            key = self._reply_keys[index] = AESGCM(key_schedule.reply_key(right.key, header.session))
        return key

    def _advance_untrusted(self, header: Header, until: int) -> None:
        """Accept a sequence number once; what is kept of a session lasts as long as its last token."""
        last = self.heard.get(header.session)
        first = header.seq - header.part + 1 if header.kind == FrameKind.REQUESTS else header.seq
        if last is not None and first <= last[0]:
            raise PeerError("replay")
        if last is None and len(self.heard) >= REMOTE_SESSIONS_MAX:
            raise PeerError("too_many_sessions")
        self.heard[header.session] = (header.seq, max(until, last[1] if last else 0))
