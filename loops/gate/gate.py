"""The gate: the reference monitor of the host. Pure: frame, origin and time in, verdict out.

Every message, from loops and from external clients alike, is checked here in one order: length, shape and version,
the session that this socket may carry, token, attested sandbox, incarnation and epoch, proof, sequence (moved only
by authentic frames), policy, quota. Bodies are never opened. The recipient checks again.

Policy for answers is the open call: a frame that comes back is forwarded only if its correlation names a request
which this gate let through from that destination to this source, and which has not ended. So no loop can send
anything without a policy line, not even unasked replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.bounded_table import BoundedTable, WhenFull
from tlsrt.budget import Budget, budget_of
from tlsrt.channels.control.telemetry import bit_of
from tlsrt.channels.frames.frame import (
    BUNDLES,
    DEADLINE_MAX_MS,
    FLAG_FINAL,
    FLAG_STREAM,
    FRAME_MAX,
    FROM_REPLIER,
    TAG_BYTES,
    Frame,
    FrameKind,
    Header,
    correlation,
    names_of,
    nonce,
    pack_frame,
    pack_header,
    parse_frame_untrusted,
    parse_header_untrusted,
    proof_data,
)
from tlsrt.channels.frames.trace import check_trace_untrusted
from tlsrt.channels.session.token import Claims
from tlsrt.channels.session.verifier import Verifier, check_deadline
from tlsrt.config import key_schedule
from tlsrt.config.door_places import SESSIONS
from tlsrt.config.processes import loop_of_address
from tlsrt.errors import PeerError
from tlsrt.loops.gate.block_list import SHARE, BlockList
from tlsrt.loops.gate.called import CalledMethods
from tlsrt.loops.gate.decoys import Decoys
from tlsrt.loops.gate.fast_path import FastPath
from tlsrt.loops.gate.open_calls import CALLS_MAX, OpenCalls
from tlsrt.loops.gate.state import GONE, Flow, GateLoop, GateSession, GateVerdict, Origin

SLACK_MS = 5_000
SESSIONS_OF = SESSIONS // 4  # of one subject; the authority lets a client have no more
CLIENT = "client"
_ASKING = frozenset({FrameKind.REQUEST, FrameKind.REQUESTS})
_REMEMBERED = _ASKING | {FrameKind.REPLY, FrameKind.REPLIES}  # what the fast path knows


class Gate:
    """One incarnation of the reference monitor."""

    def __init__(
        self, verifier: Verifier, *, calls_per_session: int = 1024, decoys: Decoys | None = None,
    ) -> None:  # fmt: skip
        self._verifier = verifier
        self._placed_apart: dict[str, str] = {}  # component -> its process, if that is not the one of its loop's name
        self._calls_per_session = calls_per_session
        self.calls = OpenCalls(calls_per_session)
        self._fast = FastPath(verifier, self.calls)
        self._sessions: BoundedTable[bytes, GateSession] = BoundedTable(SESSIONS, SESSIONS_OF, WhenFull.REFUSE)
        self._calls_per_subject = max(CALLS_MAX // 8, calls_per_session)
        self._loops: dict[str, GateLoop] = {}
        self._roots: dict[int, bytes] = {}
        self.incarnation = 0
        self.refused = 0
        self.decoys = decoys or Decoys()
        self.called = CalledMethods()
        self._limited = BlockList()

    # -- messages of the authority ---------------------------------------------------------------------------

    def set_root(self, epoch: int, incarnation: int, root: bytes) -> None:
        """Take K_gate of an epoch. Another incarnation than ours would be a mistake of the authority."""
        self.incarnation = incarnation
        self._roots[epoch] = root
        self._fast.end_flows()

    def drop_epoch(self, epoch: int) -> None:
        self._roots.pop(epoch, None)
        self._fast.end_flows()
        for row in self._sessions:
            row.value.proofs.pop(epoch, None)

    def set_loop(self, loop: str, incarnation: int, attested: int, components: Sequence[str] = ()) -> None:
        """Note a process's incarnation and components; 0: it has ended. A new one starts without sessions and calls."""
        self._fast.end_flows()
        others = {address: name for address, name in self._placed_apart.items() if name != loop}
        self._placed_apart = {address: name for address, name in others.items() if address not in components}
        self._placed_apart |= {address: loop for address in components if loop_of_address(address) != loop}
        before = self._loops.get(loop)
        if before is None or before.incarnation != incarnation:
            self._forget(lambda origin: origin.loop == loop)
            self.calls.end_where(lambda call: call[0].verdict.loop == loop)
        if incarnation:
            self._loops[loop] = GateLoop(incarnation, attested)
        else:
            self._loops.pop(loop, None)

    def _process_of(self, address: str) -> str:
        """Return the process of a component, or the first word of another subject."""
        return self._placed_apart.get(address) or address.partition("/")[0]

    def limit(self, kind: str, value: str, until: int) -> None:
        """Give one session, or those of a loop or subject, a quarter of the open calls, until then (ms; 0: no more)."""
        if until:
            self._limited.limit(value, until)
        else:
            self._limited.free(value)
        for subject in self._sessions.subjects():
            self._divide(subject, 0)

    def _divide(self, subject: str, now: int) -> None:
        """Set how many calls each session of a subject may have open at once, so that all keep within its share.

        Each may open a part of what is free now; what becomes free later is divided by the next sweep. So a message
        costs nothing for it: it is compared with the number of its own session, as ever.
        """
        rows = self._sessions.rows_of(subject)
        if len(rows) * self._calls_per_session <= self._calls_per_subject:
            for row in rows:
                row.value.calls_most = self._calls_of(row.key, row.value, now)
            return
        free = max(0, self._calls_per_subject - sum(row.value.open_calls for row in rows)) // len(rows)
        for row in rows:
            session = row.value
            session.calls_most = min(self._calls_of(row.key, session, now), session.open_calls + free)

    def _calls_of(self, name: bytes, session: GateSession, now: int) -> int:
        names = (name.hex(), session.subject, session.origin.loop)
        is_limited = any(self._limited.is_limited(each, now) for each in names)
        return max(1, self._calls_per_session // SHARE) if is_limited else self._calls_per_session

    def end_connection(self, origin: Origin) -> None:
        """Forget the session of a TLS connection that has closed. No other is slower for it."""
        row = self._sessions.get(origin.session)
        if row is None or row.value.origin is not origin:
            return
        session = row.value
        self._sessions.remove(origin.session)
        session.origin = GONE
        self._fast.end_session(origin.session)
        if session.open_calls:
            self.calls.end_where(lambda call: call[0].session is session)
        self._divide(session.subject, 0)

    def _forget(self, ended: Callable[[Origin], bool]) -> None:
        for row in [row for row in self._sessions if ended(row.value.origin)]:
            self._sessions.remove(row.key)
        self._fast.end_flows()
        self.calls.end_where(lambda call: ended(call[0].session.origin))

    def sweep(self, now: int) -> None:
        """Forget calls past their deadline and sessions past their last token. Once a second is enough.

        A session with open calls stays: forgotten, it would come back with a quota that these calls have not used.
        """
        self.calls.end_where(lambda call: call[1] <= now)
        for row in [row for row in self._sessions if row.value.expires <= now and not row.value.open_calls]:
            self._sessions.remove(row.key)
            self._fast.end_flows()
        for subject in {row.subject for row in self._sessions if row.value.calls_most < self._calls_per_session}:
            self._divide(subject, now)

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    @property
    def each_session(self) -> Mapping[bytes, GateSession]:
        """The sessions that it knows, by their ids."""
        return {row.key: row.value for row in self._sessions}

    # -- the check --------------------------------------------------------------------------------------------

    def check_untrusted(self, data: bytes, origin: Origin, now: int) -> GateVerdict:
        """Return what to do with a frame. Cannot fail: every defect is a refusal with its reason for the log."""
        verdict = self._fast.check_untrusted(data, origin, now)
        return verdict if verdict is not None else self.check_in_order_untrusted(data, origin, now)

    def check_in_order_untrusted(self, data: bytes, origin: Origin, now: int) -> GateVerdict:
        """Decide about a frame that the fast path has not let pass. Cannot fail either."""
        header = proved = frame = None
        try:
            if len(data) > FRAME_MAX:
                raise PeerError("oversize")
            frame = parse_frame_untrusted(data)
            header = parse_header_untrusted(frame.header)
            if header.kind in BUNDLES and not origin.loop:
                raise PeerError("unknown_kind")  # they are the loops' own
            claims, session = self._session_untrusted(frame, header, origin, now)
            proof = self._authentic_untrusted(frame, header, session)
            proved = session
            session.last = header.seq
            session.expires = max(session.expires, claims.expires)
            flow = Flow(session, header.src, header.dst, GateVerdict(self._process_of(header.dst)), _longest(origin))
            flow.streams = bool(header.flags & FLAG_STREAM)
            verdict = self._route_untrusted(header, claims, flow)
            if header.kind in _REMEMBERED:
                self._fast.remember(flow, data, header, frame.token, claims, proof)
            return verdict
        except PeerError as error:
            if frame is not None and proved is None:
                self.decoys.check_token(frame.token, origin)
            if error.reason == "no_open_call":
                self.calls.late += 1
            else:
                self.refused += 1
                (proved or origin).refused += 1
            if header is None or proved is None:  # nothing vouches for what it says
                return GateVerdict(reason=error.reason, answer=_refusal(header, error.reason))
            about = f"{header.dst} {header.method}"
            return GateVerdict("", 0, error.reason, _refusal(header, error.reason), header.session, about)

    def undeliverable(self, data: bytes, word: str) -> bytes:
        """Return the answer for a frame that passed but whose way on is blocked. Its call, if any, has ended."""
        header = parse_header_untrusted(parse_frame_untrusted(data).header)
        if header.kind in _ASKING:
            for name in names_of(header):
                if name in self.calls.by_name:
                    self.calls.end(name)
        self.refused += 1
        return _refusal(header, word)

    def turn_away_untrusted(self, data: bytes) -> bytes:
        """Return `busy` for a request that is not checked at all; nothing for any other frame."""
        try:
            header = parse_header_untrusted(parse_frame_untrusted(data).header)
        except PeerError:
            return b""
        answer = _refusal(header, "busy")
        self.refused += bool(answer)
        return answer

    def _session_untrusted(self, frame: Frame, header: Header, origin: Origin, now: int) -> tuple[Claims, GateSession]:
        row = self._sessions.get(header.session)
        session = row.value if row is not None else None
        if session is not None and session.origin is not origin:
            raise PeerError("session_elsewhere")
        if not origin.loop and header.session != origin.session:
            raise PeerError("session_not_granted")
        claims = self._claims_untrusted(frame, header, origin, now)
        if claims.confirmation != origin.confirmation:
            raise PeerError("wrong_certificate")
        if session is None:
            if self._process_of(claims.subject) != (origin.loop or CLIENT):
                raise PeerError("foreign_session")
            if len(self._sessions) >= self._sessions.most:
                raise PeerError("busy")
            if self._sessions.count_of(claims.subject) >= self._sessions.share:
                raise PeerError(Budget.SESSIONS)
            session = GateSession(origin, subject=claims.subject)
        if origin.loop:
            known = self._loops.get(origin.loop)
            if known is None or known.attested < header.epoch:
                raise PeerError("not_attested")
        check_deadline(header, now, _longest(origin))
        return claims, session

    def _claims_untrusted(self, frame: Frame, header: Header, origin: Origin, now: int) -> Claims:
        """Check the token. A signature costs as much as twelve whole messages, so each is charged to its socket.

        Only a loop can cause one, for it takes the token key to wrap a token; an honest one needs two a minute.
        """
        tokens = self._verifier.tokens
        if tokens.knows(frame.token):
            return self._verifier.check_untrusted(header, frame.token, now)
        if origin.signatures.refill(now) < 1:
            raise PeerError("too_many_signatures")
        before = tokens.signatures_verified
        try:
            return self._verifier.check_untrusted(header, frame.token, now)
        finally:
            origin.signatures.left -= tokens.signatures_verified - before

    def _authentic_untrusted(self, frame: Frame, header: Header, session: GateSession) -> AESGCM:
        if header.gate != self.incarnation:
            raise PeerError("stale_gate")
        if len(frame.proof) != TAG_BYTES:  # the cipher would take one with something in it
            raise PeerError("proof_forged")
        proof = session.proofs.get(header.epoch)
        if proof is None:
            root = self._roots.get(header.epoch)
            if root is None:
                raise PeerError("stale_epoch")
            proof = AESGCM(key_schedule.proof_key(root, header.session))
        try:
            proof.decrypt(nonce(header.seq), frame.proof, proof_data(frame.header, frame.token, frame.body))
        except InvalidTag as error:
            raise PeerError("proof_forged") from error
        if header.seq - (header.part - 1 if header.kind == FrameKind.REQUESTS else 0) <= session.last:
            raise PeerError("replay")
        session.proofs[header.epoch] = proof
        if header.session not in self._sessions:
            self._sessions.add(header.session, session, session.subject)
            self._divide(session.subject, 0)
        return proof

    def _route_untrusted(self, header: Header, claims: Claims, flow: Flow) -> GateVerdict:
        kind = header.kind
        if kind in _ASKING:
            return self._request_untrusted(header, claims, flow)
        if kind in (FrameKind.REPLY, FrameKind.REPLIES):
            verdict = self.calls.answer(flow, header.correlation, header.part if kind == FrameKind.REPLIES else 1)
            if verdict is None:
                raise PeerError("no_open_call")
            return verdict
        call = self.calls.by_name.get(header.correlation)
        if call is None:
            raise PeerError("no_open_call")
        asked = call[0]
        if kind in FROM_REPLIER:
            if asked.dst != header.src or asked.src != header.dst:
                raise PeerError("no_open_call")
            if kind == FrameKind.ERROR or (kind == FrameKind.ITEM and header.flags & FLAG_FINAL):
                self.calls.end(header.correlation)
            return asked.answers
        if kind == FrameKind.REFUSAL or header.correlation[:16] != header.session or asked.dst != header.dst:
            raise PeerError("no_open_call")
        if kind == FrameKind.CREDIT:
            self.calls.by_name[header.correlation] = (asked, header.deadline)
        elif kind == FrameKind.CANCEL:
            self.calls.end(header.correlation)
        return self._deliver_untrusted(header, flow)

    def _request_untrusted(self, header: Header, claims: Claims, flow: Flow) -> GateVerdict:
        if header.correlation:
            check_trace_untrusted(header)
        is_allowed = claims.allows(header.dst, header.method)
        self.decoys.check(header.session, header.dst, header.method)  # the answer does not depend on it
        called = self.called.count_of(header.src, header.dst, header.method)
        if not is_allowed:
            called.refused += 1
            raise PeerError("not_allowed")
        flow.session.methods |= bit_of(f"{header.dst}.{header.method}")
        flow.session.targets |= bit_of(header.dst)
        self._deliver_untrusted(header, flow)
        count = header.part if header.kind == FrameKind.REQUESTS else 1
        if not self.calls.open(flow, header.session, header.seq, count, header.deadline):
            is_alone = self._sessions.count_of(header.src) * self._calls_per_session <= self._calls_per_subject
            raise PeerError("busy" if is_alone else Budget.CALLS)
        called.calls += count
        flow.called = called
        return flow.verdict

    def _deliver_untrusted(self, header: Header, flow: Flow) -> GateVerdict:
        known = self._loops.get(flow.verdict.loop)
        if known is None:
            raise PeerError("unavailable")
        if known.incarnation != header.mailbox:
            raise PeerError("stale_mailbox")
        return flow.verdict


def _longest(origin: Origin) -> int:
    """Return how far ahead a deadline may lie, in ms: a client knows our clock to a round trip only."""
    return DEADLINE_MAX_MS + (0 if origin.loop else SLACK_MS)


def refusal_word(reason: str) -> str:
    """Return the word for a peer: generic, but for what is no offence."""
    if reason.startswith("stale"):
        return "stale"
    if reason == "unsynchronised":  # the authority comes again: a passing trouble in the words of one
        return "unavailable"
    if budget_of(reason):
        return "busy"
    return reason if reason in ("busy", "unavailable") else "rejected"


def _refusal(header: Header | None, reason: str) -> bytes:
    """Return the gate's answer to a refused request, and to who reads a stream that is over; others are dropped.

    A stream has no deadline. If its end is lost, as in a queue that is full, nothing but this tells its reader.
    """
    if header is None:
        return b""
    name, count = correlation(header.session, header.seq), header.part if header.kind == FrameKind.REQUESTS else 0
    if header.kind == FrameKind.CREDIT and reason == "no_open_call" and header.correlation[:16] == header.session:
        name, reason = header.correlation, "stale"
    elif header.kind not in _ASKING:
        return b""
    answer = Header(
        1, FrameKind.REFUSAL, bytes(16), 0, count, "gate", header.src, 0, 0, "", header.epoch, header.deadline, name, 0
    )
    return pack_frame(pack_header(answer), b"", refusal_word(reason).encode(), b"")
