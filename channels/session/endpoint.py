"""An endpoint: one session and its keys. It seals what the session says and opens what it is told. Pure.

Theory of operation. Keys of several epochs are kept while a change is in flight, and `commit` says which one seals;
every frame names the epoch whose keys it uses. A capability is a key: without it nothing can be said to a recipient.

Sealing. A session holds one sequence counter over everything it ever seals: taken when sealing, never repeated, so
(key, nonce) is unique under every key it uses. Going out, a body is sealed with the request key of the recipient;
coming back, with the reply key that both derive from it and from the replier's session id.

Opening follows one order: token, addressee, epoch, incarnation, right, body, and only then the sequence, which
therefore moves only for authentic frames.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frames.body import join_bodies
from tlsrt.channels.frames.frame import (
    BUNDLES,
    FROM_REQUESTER,
    SEQ_MAX,
    SESSION_BYTES,
    Frame,
    FrameKind,
    Header,
    nonce,
    pack_frame,
    pack_header,
    proof_data,
)
from tlsrt.channels.session.frame_template import TemplateIndex, note_template, template_of
from tlsrt.channels.session.heard_sessions import KEPT_MS, HeardSessions
from tlsrt.channels.session.keys import Capability, EpochKeys, GrantLike
from tlsrt.channels.session.session_observer import NumberHolder, SessionObserver
from tlsrt.channels.session.token import Claims
from tlsrt.channels.session.verifier import Verifier, check_deadline
from tlsrt.errors import Denied, PeerError, Unavailable

_REQUEST, _REPLY = int(FrameKind.REQUEST), int(FrameKind.REPLY)


class OpenedFrame(NamedTuple):
    """One authentic frame."""

    header: Header
    body: bytes
    claims: Claims | None  # None where tokens are opaque: at external clients


class Endpoint:
    """One session of one subject. `verifier` is None for external clients, to whom tokens are opaque."""

    def __init__(self, subject: str, verifier: Verifier | None = None) -> None:
        self.subject = subject
        self._verifier = verifier
        self.session = b""
        self.session_ends = 0
        self.epoch = 0
        self.on_change: list[Callable[[], None]] = []  # called when keys, rights or incarnations are others
        self._observer: SessionObserver | None = None
        self._holder: NumberHolder | None = None
        self._seq = 0
        self._epochs: dict[int, EpochKeys] = {}
        self._retiring: dict[int, int] = {}
        # What the session before could reach: those rights are on their way.
        self._expected: frozenset[str] = frozenset()
        self.heard = HeardSessions()

    def set_observer(self, observer: SessionObserver) -> None:
        """Tell the one who makes calls what becomes of them."""
        self._observer = observer

    def set_number_holder(self, holder: NumberHolder) -> None:
        """Have this holder release its requests before another number is taken."""
        self._holder = holder

    # -- keys -------------------------------------------------------------------------------------------------

    def apply_session(
        self, epoch: int, session: bytes, mailbox: int, mailbox_root: bytes, gate: int, proof_key: bytes,
        token: bytes, token_expires: int, session_ends: int,
    ) -> None:  # fmt: skip
        """Take the keys and the token of an epoch; a new session id starts a new counter."""
        if session != self.session:
            if self._holder is not None:
                self._holder.release_requests()  # their numbers belong to the keys of the session that ends
            if self._observer is not None:
                self._observer.on_session_ended()
            self.session = session
            self._seq = 0
            self._expected |= {target for held in self._epochs.values() for target in held.rights}
            self._epochs.clear()
        self.session_ends = session_ends
        held = EpochKeys(token, token_expires, gate, AESGCM(proof_key), mailbox, mailbox_root)
        if epoch in self._epochs:
            held.take_over(self._epochs[epoch])
        self._epochs[epoch] = held
        self.epoch = self.epoch if self.epoch in self._epochs else epoch
        self._changed()

    def apply_right(self, epoch: int, target: str, mailbox: int, key: bytes, methods: Sequence[str]) -> None:
        """Take one capability. Tell who waits for the recipient if it is another incarnation than before."""
        held = self._epochs.get(epoch)
        if held is None:
            raise PeerError("right_without_session")
        before = held.rights.get(target)
        # Without a mailbox there is no key. Nothing is sealed then; if it were, it could not be read.
        seal = AESGCM(key if mailbox else os.urandom(len(key)))
        held.rights[target] = Capability(mailbox, key, tuple(methods), seal)
        self._changed()
        if self._observer is not None and before is not None and before.mailbox != mailbox:
            self._observer.on_recipient_restarted(target)

    def apply_grant(self, grant: GrantLike, now: int = 0) -> None:
        """Take a whole grant, as external clients get it: it also commits its epoch."""
        self.subject = grant.subject
        self.apply_session(
            grant.epoch, grant.session, 0, b"", grant.gate, grant.proof_key, grant.token, grant.token_expires,
            grant.session_ends,
        )  # fmt: skip
        held = self._epochs[grant.epoch].rights
        for target in held.keys() - {right.target for right in grant.rights}:
            del held[target]
        self._changed()
        for right in grant.rights:
            self.apply_right(grant.epoch, right.target, right.mailbox, right.key, right.methods)
        self.commit(grant.epoch, grant.grace_ms, now)

    def commit(self, epoch: int, grace_ms: int, now: int) -> None:
        """Seal with this epoch from now on; accept the others for the grace only.

        Without keys for it (a revoked session gets none) nothing can be sealed any more.
        """
        before, held = self._epochs.get(self.epoch), self._epochs.get(epoch)
        self.epoch = epoch
        self._expected = frozenset()  # all rights came before
        for other in self._epochs:
            if other < epoch:
                until = now + grace_ms
                self._retiring[other] = min(until, self._retiring.get(other, until))
        if before is None or held is None or before is held or self._observer is None:
            return
        for target, right in held.rights.items():  # one that was restarted meanwhile: what was asked of it is over
            was = before.rights.get(target)
            if was is not None and was.mailbox and was.mailbox != right.mailbox:
                self._observer.on_recipient_restarted(target)

    @property
    def is_retiring(self) -> bool:
        """Tell whether keys of an epoch are to be forgotten soon."""
        return bool(self._retiring)

    def retire(self, now: int) -> None:
        """Forget the keys of epochs whose grace is over, and sessions that can no longer speak."""
        for epoch in [epoch for epoch, until in self._retiring.items() if now >= until]:
            del self._retiring[epoch]
            self._epochs.pop(epoch, None)
            self._changed()
        self.heard.expire(now)

    def forget(self, sessions: Collection[bytes]) -> None:
        """Forget sessions that have ended: the verifier refuses them from now on."""
        self.heard.forget(sessions)
        for held in self._epochs.values():
            held.forget(sessions)

    @property
    def gate(self) -> int:
        """The incarnation of the gate that we hold proof keys for; 0 before the first."""
        held = self._epochs.get(self.epoch)
        return held.gate if held else 0

    @property
    def rights(self) -> dict[str, tuple[str, ...]]:
        """What this session may call, of all that runs now: target -> methods."""
        held = self._epochs.get(self.epoch)
        return {target: right.methods for target, right in held.rights.items() if right.mailbox} if held else {}

    def _changed(self) -> None:
        for tell in self.on_change:
            tell()

    # -- sealing ----------------------------------------------------------------------------------------------

    def seal_request(
        self, kind: FrameKind, target: str, method: str, body: bytes, deadline: int, *,
        part: int = 0, correlation: bytes = b"", flags: int = 0,
    ) -> tuple[int, bytes]:  # fmt: skip
        """Return (seq, frame). Raise Denied without a right to the target, Unavailable without a session."""
        held, right = self._right(target)
        seq = self.take_number()
        index = (target, method) if kind == _REQUEST and not (part or flags or correlation) else ()
        if index and (template := template_of(held, right.seal, index)):
            return seq, template.sealed(seq, deadline, body)
        header = Header(
            1, kind, self.session, seq, part, self.subject, target, right.mailbox, held.gate, method,
            self.epoch, deadline, correlation, flags,
        )  # fmt: skip
        return seq, self._seal(held, header, right.seal, body, index)

    def seal_probe(self, target: str, method: str, body: bytes, deadline: int) -> bytes:
        """Return a request for the gate to see, whether we have the right or not. Empty without a session."""
        held = self._epochs.get(self.epoch)
        if held is None:
            return b""
        right = held.rights.get(target)
        mailbox, seal = (right.mailbox, right.seal) if right else (0, AESGCM(os.urandom(32)))
        header = Header(
            1, FrameKind.REQUEST, self.session, self.take_number(), 0, self.subject, target, mailbox, held.gate, method,
            self.epoch, deadline, b"", 0,
        )  # fmt: skip
        return self._seal(held, header, seal, body)

    def seal_reply(
        self, kind: FrameKind, request: Header, body: bytes, deadline: int, *, correlation: bytes, part: int = 0,
        flags: int = 0,
    ) -> bytes:  # fmt: skip
        """Return a frame back to the sender of a request; raise Unavailable if its keys are gone.

        The epoch of the request seals as long as its keys are held: the caller has those for certain, while those of
        an epoch that has just begun may still be on their way to it.
        """
        epoch = request.epoch if request.epoch in self._epochs else self.epoch
        held = self._epochs.get(epoch)
        if held is None:
            raise Unavailable("the session is not open yet")
        index = (request.session, request.src, request.method) if kind == _REPLY and not (part or flags) else ()
        template = held.templates.get(index) if index else None
        if template is not None and template.token is held.token:  # its keys are those of `held`
            return template.sealed(self.take_number(), deadline, body, correlation)
        header = Header(
            1, kind, self.session, self.take_number(), part, self.subject, request.src, held.mailbox, held.gate,
            request.method, epoch, deadline, correlation, flags,
        )  # fmt: skip
        pair = held.pairs.get(request.session) or held.derive_pair(request.session, self.session)
        return self._seal(held, header, pair[1], body, index)

    def seal_requests(
        self, numbers: range, target: str, method: str, bodies: Sequence[bytes], deadline: int, epoch: int,
        session: bytes,
    ) -> bytes:  # fmt: skip
        """Return one frame for requests whose numbers were taken before. Raise Unavailable if its keys are gone.

        `session` is the one whose counter gave the numbers: another session's keys would meet them again.
        """
        if session != self.session:
            raise Unavailable("the session has just ended; the request was not sent")
        held = self._epochs.get(epoch)
        right = held.rights.get(target) if held else None
        if held is None or right is None or not right.mailbox:
            raise Unavailable(f"the right to call {target} has just ended, or it is being restarted")
        kind, part, body = (
            (FrameKind.REQUEST, 0, bodies[0]) if len(bodies) == 1 else (FrameKind.REQUESTS, *join_bodies(bodies))
        )
        header = Header(
            1, kind, self.session, numbers[-1], part, self.subject, target, right.mailbox, held.gate, method, epoch,
            deadline, b"", 0,
        )  # fmt: skip
        return self._seal(held, header, right.seal, body)

    def seal_replies(self, request: Header, names: Sequence[bytes], bodies: Sequence[bytes], deadline: int) -> bytes:
        """Return one frame with the replies to requests of one session. Raise Unavailable if its keys are gone."""
        if len(bodies) == 1:
            return self.seal_reply(FrameKind.REPLY, request, bodies[0], deadline, correlation=names[0])
        part, body = join_bodies(bodies)
        correlation = request.session + b"".join([name[SESSION_BYTES:] for name in names])
        return self.seal_reply(FrameKind.REPLIES, request, body, deadline, correlation=correlation, part=part)

    def sign_with(self, sign: Callable[[AESGCM, int, bytes], bytes], data: bytes) -> tuple[int, int, bytes]:
        """Return (epoch, number, proof) of what the authority is to know to be this session's."""
        held = self._epochs.get(self.epoch)
        if held is None:
            raise Unavailable("the session is not open yet")
        number = self.take_number()
        return self.epoch, number, sign(held.proof, number, data)

    def check_right(self, target: str) -> None:
        """Raise Denied without a right to the target, Unavailable without a session."""
        self._right(target)

    def _right(self, target: str) -> tuple[EpochKeys, Capability]:
        held = self._epochs.get(self.epoch)
        if held is None:
            raise Unavailable("the session is not open yet")
        right = held.rights.get(target)
        if right is None and target in self._expected:
            raise Unavailable(f"the session has just begun and the right to {target} has not come; nothing was sent")
        if right is None:
            if self._observer is not None:
                self._observer.on_denied(target)
            raise Denied(f"{self.subject} may not call {target}: no policy line allows it")
        if not right.mailbox:
            raise Unavailable(f"{target} is not running now; the request was not sent")
        return held, right

    def take_number(self) -> int:
        """Return the next number of this session, for what is sealed at once, or as the first of a bundle."""
        if self._holder is not None:
            self._holder.release_requests()
        return self.take_next_number()

    def take_next_number(self) -> int:
        """Return the next number, for one more request of a bundle that is open."""
        if self._seq >= SEQ_MAX:
            raise Unavailable("the session has used up its sequence numbers; open a new one")
        self._seq += 1
        return self._seq

    def _seal(self, held: EpochKeys, header: Header, seal: AESGCM, body: bytes, index: TemplateIndex = ()) -> bytes:
        if index:
            note_template(held, seal, index, header)  # for the next one like it
        packed = pack_header(header)
        number = nonce(header.seq)
        sealed = seal.encrypt(number, body, packed)
        proof = held.proof.encrypt(number, b"", proof_data(packed, held.token, sealed))
        return pack_frame(packed, held.token, sealed, proof)

    # -- opening ----------------------------------------------------------------------------------------------

    def open_untrusted(self, frame: Frame, header: Header, now: int) -> OpenedFrame:
        """Return an authentic frame that is meant for us; raise PeerError with the reason otherwise."""
        if header.kind == FrameKind.REFUSAL:
            return self._refusal_untrusted(frame, header)
        if self._verifier is None and header.kind in BUNDLES:
            raise PeerError("unknown_kind")  # they are the loops' own
        claims = self._verifier.check_untrusted(header, frame.token, now) if self._verifier else None
        if header.dst != self.subject:
            raise PeerError("not_mine")
        check_deadline(header, now, KEPT_MS)
        key = self.opening_key_untrusted(header, claims)
        try:
            body = key.decrypt(nonce(header.seq), frame.body, frame.header)
        except InvalidTag as error:
            raise PeerError("body_forged") from error
        floor = self._verifier.ended.floor if self._verifier else -1
        self.heard.take_untrusted(header, claims, floor, now)
        return OpenedFrame(header, body, claims)

    def opening_key_untrusted(self, header: Header, claims: Claims | None) -> AESGCM:
        """Return the key that opens the body of a frame to us. Raise PeerError if it may not be here."""
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
        return (held.pairs.get(header.session) or held.derive_pair(header.session, self.session))[0]

    def _reply_key_untrusted(self, header: Header, held: EpochKeys) -> AESGCM:
        right = held.rights.get(header.src)
        if (
            right is None
            or not right.mailbox
            or header.mailbox != right.mailbox
            or header.correlation[:16] != self.session
        ):
            raise PeerError("unasked_reply")
        index = (header.src, header.session, right.mailbox)
        return held.reply_keys.get(index) or held.derive_reply_key(index, right.key)
