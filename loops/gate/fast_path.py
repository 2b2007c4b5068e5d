"""The gate's fast lane, the hot module of Primary. Pure.

Theory of operation. The lane recognises a frame like one that has passed (`channels/frames/patterns.py`) and asks of
it whatever can have changed: is the socket the session's, are the token's bytes those that were checked, is it valid
now, is the feed alive, does the deadline lie ahead and near, is the proof good, is the number new, is the call open or
the quota not used up. The rest (signature, boot, epoch, revocation, attestation, incarnations, caps) was asked of the
flow when it was noted, and every change to what these answers came from ends all flows (`end_flows`).

The lane only ever lets pass. A frame that it does not recognise, or that fails one of its questions, goes to the full
check, which asks everything in the documented order and knows the reason. So the lane has to agree with the full
check on one thing, that a frame passes; `tests/property/test_lane.py` compares the two over random conversations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from struct import Struct
from struct import error as StructError

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frames.frame import BUNDLES, TAG_BYTES, FrameKind, Header, names_in
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
from tlsrt.loops.gate.state import Call, Flow, GateSession, GateVerdict, Origin

_REQUEST, _REPLY, _REQUESTS = int(FrameKind.REQUEST), int(FrameKind.REPLY), int(FrameKind.REQUESTS)
CALLS_MAX = 65_536  # open calls of all sessions, about 16 MiB; nobody takes more than an eighth of what is left
_proof_of = Struct(">16s2s16s").unpack_from  # the body's tag, and the proof with its mark


class FastPath(ABC):
    """What the fast lane shares with the full check, which is its child."""

    def __init__(self, verifier: Verifier, calls_per_session: int) -> None:
        self._verifier = verifier
        self._calls_per_session = calls_per_session
        self._calls_easy = CALLS_MAX - 8 * (calls_per_session + 1)  # below, every session may have all of its own
        self._sessions: dict[bytes, GateSession] = {}
        self._calls: dict[bytes, Call] = {}
        self._shapes = FramePatterns[Flow]()
        self._known = self._shapes.known
        self.frames = 0
        self.late = 0  # answers, credits and cancels that crossed the end of their call: dropped, no offence
        verifier.on_change.append(self.end_flows)

    @abstractmethod
    def check_in_order_untrusted(self, data: bytes, origin: Origin, now: int) -> GateVerdict:
        """Return what to do with a frame; the full check."""

    def check_untrusted(self, data: bytes, origin: Origin, now: int) -> GateVerdict:
        """Return what to do with a frame. Cannot fail: every defect is a refusal with its reason for the log."""
        self.frames += 1
        known = self._known
        shape = known.get(data[:BEGIN]) or known.get(data[:LONG_BEGIN]) or known.get(data[:FIRST_BEGIN])
        if shape is None:
            return self.check_in_order_untrusted(data, origin, now)
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
                    call = self._calls[correlation]
                    asked = call[0]
                    if asked.answered is flow or (asked.dst == flow.src and asked.src == flow.dst):
                        asked.answered = flow
                        del self._calls[correlation]
                        asked.session.open_calls -= 1
                        session.last = seq
                        return asked.answers
                elif kind == _REQUEST:
                    if session.open_calls < session.calls_most and len(self._calls) < self._calls_easy:
                        session.open_calls += 1
                        self._calls[shape.name + number[4:]] = (flow, deadline)
                        session.last = seq
                        return flow.verdict
                else:
                    verdict = (
                        self._asked(flow, shape.name, seq, flow.count, deadline) if kind == _REQUESTS
                        else self._answered(flow, correlation, flow.count)
                    )  # fmt: skip
                    if verdict is not None:
                        session.last = seq
                        return verdict
        except (KeyError, InvalidTag, StructError):  # an unknown flow or call, a proof of other bytes, too short
            pass
        return self.check_in_order_untrusted(data, origin, now)

    def _asked(self, flow: Flow, name: bytes, last: int, count: int, deadline: int) -> GateVerdict | None:
        """Open the calls of a request, or of a bundle of them that ends with `last`; None over the quota."""
        session = flow.session
        if session.open_calls + count > min(session.calls_most, (CALLS_MAX - len(self._calls)) // 8):
            return None
        session.open_calls += count
        call = (flow, deadline)
        for seq in range(last - count + 1, last + 1):
            self._calls[name + seq.to_bytes(8, "big")] = call
        return flow.verdict

    def _answered(self, flow: Flow, correlation: bytes, count: int) -> GateVerdict | None:
        """End the calls that are answered; None unless one is open, and all that are were made between the same two.

        Answers of a bundle whose call has ended meanwhile are late, no offence; the asker drops them. Only loops get
        bundles.
        """
        calls = self._calls
        if count < 2:
            call = calls.get(correlation)
            if call is None or call[0].dst != flow.src or call[0].src != flow.dst:
                return None
            del calls[correlation]
            call[0].session.open_calls -= 1
            return call[0].answers
        names = names_in(correlation)
        found = list(map(calls.get, names))
        same = found[0]
        if same is None or found.count(same) < count or len(set(names)) < count:
            return self._answered_in_part(flow, dict(zip(names, found, strict=True)), count)
        asked = same[0]
        if not asked.answers.loop or asked.dst != flow.src or asked.src != flow.dst:
            return None
        for one in names:
            del calls[one]
        asked.session.open_calls -= count
        return asked.answers

    def _answered_in_part(self, flow: Flow, found: dict[bytes, Call | None], count: int) -> GateVerdict | None:
        """The same for answers to calls that were made in several frames, or of which some have ended."""
        still = {name: call for name, call in found.items() if call is not None}
        for asked, _ in still.values():
            if not asked.answers.loop or asked.dst != flow.src or asked.src != flow.dst:
                return None
            answers = asked.answers
        if not still:
            return None
        for name, (asked, _) in still.items():
            del self._calls[name]
            asked.session.open_calls -= 1
        self.late += count - len(still)
        return answers

    # -- flows ------------------------------------------------------------------------------------------------

    def end_flows(self) -> None:
        """Forget all flows: something that they were checked against has changed, or a session has gone."""
        self._shapes.forget()

    def remember(self, flow: Flow, data: bytes, header: Header, token: bytes, claims: Claims, proof: AESGCM) -> None:
        """Note the flow of a frame that has passed every check, if its encoding is the shortest."""
        flow.since, flow.until = claims.not_before, claims.expires
        flow.proof = proof
        if header.kind in BUNDLES:
            flow.count = header.part
            flow.before = header.part - 1 if header.kind == FrameKind.REQUESTS else 0
        self._shapes.learn(data, header, token, flow)
