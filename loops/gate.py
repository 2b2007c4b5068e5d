"""The gate: the reference monitor of the host. Pure: frame, origin and time in, verdict out.

Every message, from loops and from external clients alike, is checked here in one order: length, shape and version,
the session that this socket may carry, token, attested sandbox, incarnation and epoch, proof, sequence (moved only
by authentic frames), policy, quota. Bodies are never opened. The recipient checks again.

Policy for answers is the open call: a frame that comes back is forwarded only if its correlation names a request
which this gate let through from that destination to this source, and which has not ended. So no loop can speak to
anybody without a policy line, not even unasked replies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frame import (
    DEADLINE_MAX_MS,
    FLAG_FINAL,
    FRAME_MAX,
    FROM_REPLIER,
    Frame,
    Header,
    Kind,
    correlation,
    nonce,
    pack_frame,
    pack_header,
    parse_frame_untrusted,
    parse_header_untrusted,
    proof_data,
)
from tlsrt.channels.token import Claims
from tlsrt.channels.verifier import Verifier, check_deadline
from tlsrt.config import keys
from tlsrt.errors import PeerError

SLACK_MS = 5_000
SESSIONS_MAX = 16_384
SIGNATURES_MAX = 256.0  # a loop with 256 components may renew all their tokens at once
SIGNATURES_PER_S = 16.0
CLIENT = "client"


@dataclass(slots=True)
class Origin:
    """Where a frame came from, known by the socket: a loop, or one TLS connection with its certificate."""

    loop: str  # "" for a connection
    connection: int = 0
    session: bytes = b""  # the one session that a connection may carry, once granted
    confirmation: bytes = b""  # SHA-256 of the connection's client certificate
    signatures: float = 256.0  # how many more unknown tokens may be verified for it now
    refilled: int = 0  # BOOTTIME, ms


@dataclass(slots=True)
class Member:
    """A loop that may take part: its incarnation, and the epoch for which its sandbox was attested."""

    incarnation: int
    attested: int


@dataclass(slots=True)
class _Session:
    """What the gate keeps of one session."""

    origin: Origin
    last: int = 0  # highest sequence accepted
    expires: int = 0  # of its last token
    open_calls: int = 0
    proofs: dict[int, AESGCM] = field(default_factory=dict[int, AESGCM], repr=False)


@dataclass(slots=True)
class _Call:
    """An open call: who asked whom, and until when answers may come."""

    asker: Origin
    src: str
    dst: str
    deadline: int


class Verdict(NamedTuple):
    """Forward to a loop or a connection, or do not; `answer` is what to send back to the origin instead."""

    loop: str = ""
    connection: int = 0
    reason: str = ""
    answer: bytes = b""

    @property
    def passed(self) -> bool:
        return not self.reason


class Gate:
    """One incarnation of the reference monitor."""

    def __init__(self, verifier: Verifier, *, calls_per_session: int = 1024) -> None:
        self._verifier = verifier
        self._calls_per_session = calls_per_session
        self._members: dict[str, Member] = {}
        self._roots: dict[int, bytes] = {}
        self._sessions: dict[bytes, _Session] = {}
        self._calls: dict[bytes, _Call] = {}
        self.incarnation = 0
        self.frames = 0
        self.refused = 0
        self.late = 0  # answers, credits and cancels that crossed the end of their call: dropped, no offence

    # -- what the authority says ------------------------------------------------------------------------------

    def set_root(self, epoch: int, incarnation: int, root: bytes) -> None:
        """Take K_gate of an epoch; another incarnation than ours would be a mistake of the authority."""
        self.incarnation = incarnation
        self._roots[epoch] = root

    def drop_epoch(self, epoch: int) -> None:
        self._roots.pop(epoch, None)
        for session in self._sessions.values():
            session.proofs.pop(epoch, None)

    def set_member(self, loop: str, incarnation: int, attested: int) -> None:
        """Note a loop's incarnation; 0 means that it is gone. A new one starts without sessions and calls."""
        before = self._members.get(loop)
        if before is None or before.incarnation != incarnation:
            self._forget(lambda origin: origin.loop == loop)
            for name in [name for name, call in self._calls.items() if call.dst.partition("/")[0] == loop]:
                self._end_call(name)
        if incarnation:
            self._members[loop] = Member(incarnation, attested)
        else:
            self._members.pop(loop, None)

    def end_connection(self, connection: int) -> None:
        """Forget the session of a TLS connection that has closed."""
        self._forget(lambda origin: not origin.loop and origin.connection == connection)

    def _forget(self, gone: Callable[[Origin], bool]) -> None:
        self._sessions = {name: session for name, session in self._sessions.items() if not gone(session.origin)}
        self._calls = {name: call for name, call in self._calls.items() if not gone(call.asker)}

    def sweep(self, now: int) -> None:
        """Forget calls past their deadline and sessions past their last token; once a second is enough."""
        for name in [name for name, call in self._calls.items() if call.deadline <= now]:
            self._end_call(name)
        for name in [name for name, session in self._sessions.items() if session.expires <= now]:
            del self._sessions[name]

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    # -- the check --------------------------------------------------------------------------------------------

    def check_untrusted(self, data: bytes, origin: Origin, now: int) -> Verdict:
        """Return what to do with a frame. Cannot fail: every defect is a refusal with its reason for the log."""
        self.frames += 1
        header = None
        try:
            if len(data) > FRAME_MAX:
                raise PeerError("oversize")
            frame = parse_frame_untrusted(data)
            header = parse_header_untrusted(frame.header)
            claims, session = self._session_untrusted(frame, header, origin, now)
            self._authentic_untrusted(frame, header, session)
            session.last = header.seq
            session.expires = max(session.expires, claims.expires)
            return self._route_untrusted(header, claims, session, now)
        except PeerError as error:
            if error.reason == "no_open_call":
                self.late += 1
            else:
                self.refused += 1
            return Verdict(reason=error.reason, answer=_refusal(header, error.reason))

    def undeliverable(self, data: bytes, word: str) -> bytes:
        """Return the answer for a frame that passed but whose way on is blocked; its call, if any, has ended."""
        header = parse_header_untrusted(parse_frame_untrusted(data).header)
        if header.kind == Kind.REQUEST:
            name = correlation(header.session, header.seq)
            if name in self._calls:
                self._end_call(name)
        self.refused += 1
        return _refusal(header, word)

    def _session_untrusted(self, frame: Frame, header: Header, origin: Origin, now: int) -> tuple[Claims, _Session]:
        session = self._sessions.get(header.session)
        if session is not None and session.origin is not origin:
            raise PeerError("session_elsewhere")
        if not origin.loop and header.session != origin.session:
            raise PeerError("session_not_granted")
        claims = self._claims_untrusted(frame, header, origin, now)
        if claims.confirmation != origin.confirmation:
            raise PeerError("wrong_certificate")
        if session is None:
            loop = claims.subject.partition("/")[0]
            if loop != (origin.loop or CLIENT):
                raise PeerError("foreign_session")
            if len(self._sessions) >= SESSIONS_MAX:
                raise PeerError("busy")
            session = _Session(origin)
        if origin.loop:
            member = self._members.get(origin.loop)
            if member is None or member.attested < header.epoch:
                raise PeerError("not_attested")
        check_deadline(header, now, DEADLINE_MAX_MS + (0 if origin.loop else SLACK_MS))
        return claims, session

    def _claims_untrusted(self, frame: Frame, header: Header, origin: Origin, now: int) -> Claims:
        """Check the token. A signature costs as much as twelve whole messages, so each is charged to its socket.

        Only a loop can cause one, for it takes the token key to wrap a token; an honest one needs two a minute.
        """
        tokens = self._verifier.tokens
        if tokens.knows(frame.token):
            return self._verifier.check_untrusted(header, frame.token, now)
        origin.signatures = min(SIGNATURES_MAX, origin.signatures + (now - origin.refilled) * SIGNATURES_PER_S / 1000)
        origin.refilled = now
        if origin.signatures < 1:
            raise PeerError("too_many_signatures")
        before = tokens.signatures_verified
        try:
            return self._verifier.check_untrusted(header, frame.token, now)
        finally:
            origin.signatures -= tokens.signatures_verified - before

    def _authentic_untrusted(self, frame: Frame, header: Header, session: _Session) -> None:
        if header.gate != self.incarnation:
            raise PeerError("stale_gate")
        proof = session.proofs.get(header.epoch)
        if proof is None:
            root = self._roots.get(header.epoch)
            if root is None:
                raise PeerError("stale_epoch")
            proof = AESGCM(keys.proof_key(root, header.session))
        try:
            proof.decrypt(nonce(header.seq), frame.proof, proof_data(frame.header, frame.token, frame.body))
        except InvalidTag as error:
            raise PeerError("proof_forged") from error
        if header.seq <= session.last:
            raise PeerError("replay")
        session.proofs[header.epoch] = proof
        self._sessions[header.session] = session

    def _route_untrusted(self, header: Header, claims: Claims, session: _Session, now: int) -> Verdict:
        kind = header.kind
        if kind == Kind.REQUEST:
            return self._request_untrusted(header, claims, session)
        call = self._calls.get(header.correlation)
        if call is None:
            raise PeerError("no_open_call")
        if kind in FROM_REPLIER:
            if call.dst != header.src or call.src != header.dst:
                raise PeerError("no_open_call")
            asker = call.asker
            if kind in (Kind.REPLY, Kind.ERROR) or (kind == Kind.ITEM and header.flags & FLAG_FINAL):
                self._end_call(header.correlation)
            return Verdict(asker.loop, asker.connection)
        if kind == Kind.REFUSAL or header.correlation[:16] != header.session or call.dst != header.dst:
            raise PeerError("no_open_call")
        if kind == Kind.CREDIT:
            call.deadline = header.deadline
        elif kind == Kind.CANCEL:
            self._end_call(header.correlation)
        return self._deliver_untrusted(header)

    def _request_untrusted(self, header: Header, claims: Claims, session: _Session) -> Verdict:
        if header.correlation:
            raise PeerError("correlated_request")
        if not claims.allows(header.dst, header.method):
            raise PeerError("not_allowed")
        verdict = self._deliver_untrusted(header)
        if session.open_calls >= self._calls_per_session:
            raise PeerError("busy")
        session.open_calls += 1
        name = correlation(header.session, header.seq)
        self._calls[name] = _Call(session.origin, header.src, header.dst, header.deadline)
        return verdict

    def _deliver_untrusted(self, header: Header) -> Verdict:
        loop = header.dst.partition("/")[0]
        member = self._members.get(loop)
        if member is None:
            raise PeerError("unavailable")
        if member.incarnation != header.mailbox:
            raise PeerError("stale_mailbox")
        return Verdict(loop)

    def _end_call(self, name: bytes) -> None:
        del self._calls[name]
        session = self._sessions.get(name[:16])
        if session is not None:
            session.open_calls -= 1


def refusal_word(reason: str) -> str:
    """Return the word that a peer is told: generic, but for what is no offence."""
    if reason.startswith("stale"):
        return "stale"
    return reason if reason in ("busy", "unavailable") else "rejected"


def _refusal(header: Header | None, reason: str) -> bytes:
    """Return the gate's answer to a refused request; other kinds are dropped silently."""
    if header is None or header.kind != Kind.REQUEST:
        return b""
    answer = Header(
        1, Kind.REFUSAL, bytes(16), 0, 0, "gate", header.src, 0, 0, "", header.epoch, header.deadline,
        correlation(header.session, header.seq), 0,
    )  # fmt: skip
    return pack_frame(pack_header(answer), b"", refusal_word(reason).encode(), b"")
