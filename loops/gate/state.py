"""State of the gate: origins, loops, sessions, open calls, flows that have passed. Data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.loops.gate.called import CallCount
from tlsrt.rate_limit import Bucket

SIGNATURES_MAX = 256  # a loop with 256 components may renew all their tokens at once
SIGNATURES_PER_S = 16


def _signatures() -> Bucket:
    return Bucket(SIGNATURES_MAX, SIGNATURES_PER_S, clock_hz=1000)


@dataclass(slots=True)
class Origin:
    """Where a frame came from, known by the socket: a loop, or one TLS connection."""

    loop: str  # "" for a connection
    connection: int = 0
    session: bytes = b""  # the one session that a connection may carry, once granted
    confirmation: bytes = b""  # SHA-256 of the connection's client certificate
    signatures: Bucket = field(default_factory=_signatures)  # unknown tokens that may be verified for it; BOOTTIME, ms
    charge: str = ""  # who pays for its place in queues: the loop, or the client with all of its connections
    refused: int = 0  # frames that came from here and proved nothing
    rate: Bucket | None = None  # of a client, with all of its connections; loops have none


GONE = Origin("")  # no socket is it: the origin of a session that has ended


NOTHING = CallCount()  # where frames that ask for nothing would count


@dataclass(slots=True)
class GateLoop:
    """A loop that may take part: its incarnation, and the epoch of its attestation."""

    incarnation: int
    attested: int


class GateVerdict(NamedTuple):
    """Forward to a loop or a connection, or do not. `answer` is what to send back to the origin instead."""

    loop: str = ""
    connection: int = 0
    reason: str = ""
    answer: bytes = b""
    session: bytes = b""  # of a refused frame that is authentic
    about: str = ""  # what it wanted

    @property
    def passed(self) -> bool:
        return not self.reason


@dataclass(slots=True)
class GateSession:
    """What the gate keeps of one session."""

    origin: Origin
    last: int = 0  # highest sequence accepted
    expires: int = 0  # of its last token
    open_calls: int = 0
    calls_most: int = 0  # open at once
    subject: str = ""
    proofs: dict[int, AESGCM] = field(default_factory=dict[int, AESGCM], repr=False)
    refused: int = 0  # frames that it has proved to be its own
    methods: int = (
        0  # a bit for each pair of component and method that it has called: see channels/control/telemetry.py
    )
    targets: int = 0  # and for each component


class Flow:
    """Frames of one session that are alike in all but number, deadline, correlation and body.

    One is noted when a frame of it has passed every check, and holds what these checks gave: see `fast_path.py`.
    """

    __slots__ = (
        "answered", "answers", "before", "called", "count", "dst", "end", "longest", "proof", "session", "since", "src",
        "streams", "token", "until", "verdict",
    )  # fmt: skip

    def __init__(self, session: GateSession, src: str, dst: str, verdict: GateVerdict, longest: int) -> None:
        self.session = session
        self.src = src
        self.dst = dst
        self.verdict = verdict  # where requests go
        self.answers = GateVerdict(session.origin.loop, session.origin.connection)
        self.answered: Flow | None = None  # what the last answer came by: between the same two
        self.longest = longest  # how far ahead a deadline may lie, ms
        self.streams = False  # its calls may last as long as they are consumed
        self.end = b""  # of the header, and the token as it stands behind it
        self.token = b""  # and as it is authenticated: length u32 | token
        self.since = 0  # what the token says, ms
        self.until = 0
        self.count = 1  # of the requests or replies in one frame
        self.called = NOTHING  # where its requests are counted
        self.before = 0  # how many requests of a frame have lower numbers than its own
        self.proof: AESGCM


Call = tuple[Flow, int]  # an open call: who asked whom, and until when answers may come (ms)
