"""Fast path of the gate: frames like one that has passed. The hot module of Primary. Pure.

Theory of operation. The fast path recognises a frame like one that has passed (`channels/frames/patterns.py`) and asks
of it whatever can have changed: is the socket the session's, are the token's bytes those that were checked, is it valid
now, is the feed alive, does the deadline lie ahead and near, is the proof good, is the number new, is the call open or
the quota not used up. The rest (signature, boot, epoch, revocation, attestation, incarnations, caps) was asked of the
flow when it was noted, and every change to what these answers came from ends all flows (`end_flows`).

The fast path only ever lets pass. A frame that it does not recognise, or that fails one of its questions, goes to the
full check, which asks everything in the documented order and knows the reason. So the fast path has to agree with the
full check on one thing, that a frame passes; a property test compares the two over random conversations.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frames.frame import BUNDLES, TAG_BYTES, FrameKind, Header
from tlsrt.channels.frames.patterns import (
    BEGIN,
    FIRST_BEGIN,
    LONG_BEGIN,
    PROOF_MARK,
    ROOM_MAX,
    FramePatterns,
    size_untrusted,
)
from tlsrt.channels.session.token import Claims
from tlsrt.channels.session.verifier import Verifier
from tlsrt.loops.gate.open_calls import OpenCalls
from tlsrt.loops.gate.state import Flow, GateVerdict, Origin

_REQUEST, _REPLY, _REQUESTS = int(FrameKind.REQUEST), int(FrameKind.REPLY), int(FrameKind.REQUESTS)
_proof_of = Struct(">16s2s16s").unpack_from  # the body's tag, and the proof with its mark


class FastPath:
    """Frames that are like one which has passed, and the open calls that they add to or end."""

    def __init__(self, verifier: Verifier, calls: OpenCalls) -> None:
        self._verifier = verifier
        self._calls = calls
        self._open = calls.by_name
        self._few = calls.few
        self._patterns = FramePatterns[Flow](2 * verifier.sessions)
        self._known = self._patterns.known
        verifier.on_change.append(self.end_flows)

    def check_untrusted(self, data: bytes, origin: Origin, now: int) -> GateVerdict | None:
        """Return what to do with a frame that passes; None for one that the full check has to decide. Cannot fail."""
        known = self._known
        shape = known.get(data[:BEGIN]) or known.get(data[:LONG_BEGIN]) or known.get(data[:FIRST_BEGIN])
        if shape is None:
            return None
        try:
            seq, key, deadline, length, correlation, end, mark, size = shape.cut(data)
            flow = shape.flows[key]
            session = flow.session
            tag, proof_mark, proof = _proof_of(data, -34)
            if mark != 0xC4:
                size = size_untrusted(data, shape.body)
            # nothing has moved so far; what follows is what can have changed since the flow was noted
            if (
                end == flow.end
                and length == shape.length
                and len(data) - size == shape.other
                and TAG_BYTES <= size <= ROOM_MAX
                and proof_mark == PROOF_MARK
                and session.origin is origin
                and now < self._verifier.silent_from
                and flow.since <= now < flow.until
                and now < deadline <= now + flow.longest
                and session.last < seq - flow.before
            ):
                number = seq.to_bytes(12, "big")
                flow.proof.decrypt(number, proof, b"".join((shape.size, data[shape.at : shape.end], flow.token, tag)))
                kind = shape.kind
                if kind == _REPLY:
                    call = self._open[correlation]
                    asked = call[0]
                    if asked.answered is flow or (asked.dst == flow.src and asked.src == flow.dst):
                        asked.answered = flow
                        del self._open[correlation]
                        asked.session.open_calls -= 1
                        session.last = seq
                        return asked.answers
                elif kind == _REQUEST:
                    if session.open_calls < session.calls_most and len(self._open) < self._few:
                        session.open_calls += 1
                        self._open[shape.name + number[4:]] = (flow, deadline)
                        session.last = seq
                        flow.called.calls += 1
                        return flow.verdict
                else:
                    if kind != _REQUESTS:
                        verdict = self._calls.answer(flow, correlation, flow.count)
                    elif self._calls.open(flow, shape.name, seq, flow.count, deadline):
                        verdict = flow.verdict
                        flow.called.calls += flow.count
                    else:
                        verdict = None
                    if verdict is not None:
                        session.last = seq
                        return verdict
        except (KeyError, InvalidTag, StructError):  # an unknown flow or call, a proof of other bytes, too short
            pass
        return None

    def end_flows(self) -> None:
        """Forget all flows: something that they were checked against has changed, or a session has ended."""
        self._patterns.forget()

    def end_session(self, session: bytes) -> None:
        """Forget the flows of one session, which has ended."""
        self._patterns.forget_sessions((session,))

    def remember(self, flow: Flow, data: bytes, header: Header, token: bytes, claims: Claims, proof: AESGCM) -> None:
        """Note the flow of a frame that has passed every check, if its encoding is the shortest."""
        flow.since, flow.until = claims.not_before, claims.expires
        flow.proof = proof
        if header.kind in BUNDLES:
            flow.count = header.part
            flow.before = header.part - 1 if header.kind == FrameKind.REQUESTS else 0
        self._patterns.learn(data, header, token, flow)
