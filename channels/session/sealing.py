"""The sealing half of an endpoint: numbers are taken once, and frames are made. Pure.

A session holds one sequence counter over everything it ever seals: taken when sealing, never repeated, so (key, nonce)
is unique under every key it uses. Going out, a body is sealed with the request key of the recipient; coming back, with
the reply key that both derive from it and from the replier's session id.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frames.body import join_bodies
from tlsrt.channels.frames.frame import (
    SEQ_MAX,
    SESSION_BYTES,
    FrameKind,
    Header,
    nonce,
    pack_frame,
    pack_header,
    proof_data,
)
from tlsrt.channels.session.keys import Capability, EpochKeys, SessionKeys
from tlsrt.errors import Denied, Unavailable


class Sealing(SessionKeys):
    """Seals what a session says."""

    def seal_request(
        self, kind: FrameKind, target: str, method: str, body: bytes, deadline: int, *,
        part: int = 0, correlation: bytes = b"", flags: int = 0,
    ) -> tuple[int, bytes]:  # fmt: skip
        """Return (seq, frame); raise Denied without a right to the target, Unavailable without a session."""
        held, right = self._right(target)
        seq = self.take_number()
        header = Header(
            1, kind, self.session, seq, part, self.subject, target, right.mailbox, held.gate, method,
            self.epoch, deadline, correlation, flags,
        )  # fmt: skip
        return seq, self._seal(held, header, right.seal, body)

    def seal_probe(self, target: str, method: str, body: bytes, deadline: int) -> bytes:
        """Return a request for the gate to see, whether we have the right or not; empty without a session."""
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

        The epoch of the request seals as long as its keys are held: the asker has those for certain, while those of
        an epoch that has just begun may still be on their way to it.
        """
        epoch = request.epoch if request.epoch in self._epochs else self.epoch
        held = self._epochs.get(epoch)
        if held is None:
            raise Unavailable("the session is not open yet")
        seal = self._keys_with(request.session, epoch, held)[1]
        header = Header(
            1, kind, self.session, self.take_number(), part, self.subject, request.src, held.mailbox, held.gate,
            request.method, epoch, deadline, correlation, flags,
        )  # fmt: skip
        return self._seal(held, header, seal, body)

    def seal_requests(
        self, numbers: range, target: str, method: str, bodies: Sequence[bytes], deadline: int, epoch: int,
        session: bytes,
    ) -> bytes:  # fmt: skip
        """Return one frame for requests whose numbers were taken before; raise Unavailable if its keys are gone.

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
        """Return one frame with the replies to requests of one session; raise Unavailable if its keys are gone."""
        if len(bodies) == 1:
            return self.seal_reply(FrameKind.REPLY, request, bodies[0], deadline, correlation=names[0])
        part, body = join_bodies(bodies)
        correlation = request.session + b"".join([name[SESSION_BYTES:] for name in names])
        return self.seal_reply(FrameKind.REPLIES, request, body, deadline, correlation=correlation, part=part)

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
            self.on_denied(target)
            raise Denied(f"{self.subject} may not call {target}: no policy line allows it")
        if not right.mailbox:
            raise Unavailable(f"{target} is not running now; the request was not sent")
        return held, right

    def take_number(self) -> int:
        """Return the next number of this session, for what is sealed at once, or as the first of a bundle."""
        self.before_seal()
        return self.take_next_number()

    def take_next_number(self) -> int:
        """Return the next number, for one more request of a bundle that is open."""
        if self._seq >= SEQ_MAX:
            raise Unavailable("the session has used up its sequence numbers; open a new one")
        self._seq += 1
        return self._seq

    def _seal(self, held: EpochKeys, header: Header, seal: AESGCM, body: bytes) -> bytes:
        packed = pack_header(header)
        number = nonce(header.seq)
        sealed = seal.encrypt(number, body, packed)
        proof = held.proof.encrypt(number, b"", proof_data(packed, held.token, sealed))
        return pack_frame(packed, held.token, sealed, proof)
