"""Fast path of a recipient: frames like one that was opened before. The hot module of every loop. Pure.

What the gate forwarded is checked again here. Like the gate's (`gate/fast_path.py`) this one recognises a frame like
one that was opened before (`channels/frames/patterns.py`) and asks what can have changed: are the token's bytes those
that were checked, is it valid now, is the feed alive, does the deadline lie ahead and near, is an answer for our
session, does the body open under the flow's key, is the number new. Whatever changes what the rest was checked against
(the verifier's knowledge, epochs, rights and incarnations of an endpoint) ends all flows. A frame that is not
recognised, or fails a question, goes to `Endpoint.open_untrusted`, which asks everything in order and knows the reason.
"""

from __future__ import annotations

from collections.abc import Collection
from struct import error as StructError
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frames.frame import (
    DEADLINE_MAX_MS,
    SESSION_BYTES,
    TAG_BYTES,
    FrameKind,
    Header,
    parse_frame_untrusted,
    parse_header_untrusted,
)
from tlsrt.channels.frames.patterns import (
    BEGIN,
    FIRST_BEGIN,
    LONG_BEGIN,
    PROOF_MARK,
    ROOM_MAX,
    FramePatterns,
    size_untrusted,
)
from tlsrt.channels.session.endpoint import Endpoint, OpenedFrame
from tlsrt.channels.session.heard_sessions import SLACK_MS, HeardSession
from tlsrt.channels.session.token import Claims
from tlsrt.channels.session.verifier import Verifier
from tlsrt.errors import PeerError

_AHEAD_MS = DEADLINE_MAX_MS + SLACK_MS
_COPIED = 8 * 1024  # measured: a slice of so much costs less than a view of it
_HEAD = {0xC4: 2, 0xC5: 3, 0xC6: 5}  # the mark of a bin: bytes before its contents
_new = tuple.__new__


class Recipient(Protocol):
    """A component of this process, with its endpoint."""

    endpoint: Endpoint

    def on_opened_untrusted(self, opened: OpenedFrame) -> None:
        """Take an authentic frame; raise PeerError if it makes no sense."""


class Arrival:
    """Frames of one session to one of our components that are alike. What opening one of them gave."""

    __slots__ = ("before", "claims", "end", "heard", "host", "key", "middle", "token")

    def __init__(self, host: Recipient, header: Header, claims: Claims, key: AESGCM, heard: HeardSession) -> None:
        self.host = host
        self.claims = claims
        self.heard = heard
        self.key = key
        self.middle = header[4:11]
        self.before = header.part - 1 if header.kind == FrameKind.REQUESTS else 0  # requests with lower numbers
        self.end = self.token = b""


class ReceiveFastPath:
    """The frames that the components of this process have opened before."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._hosts: dict[str, Recipient] = {}
        self._patterns = FramePatterns[Arrival](2 * verifier.sessions)
        self._known = self._patterns.known
        verifier.on_change.append(self._patterns.forget)

    def add(self, host: Recipient) -> None:
        """Open what is for this component; its flows end when its keys or rights change."""
        self._hosts[host.endpoint.subject] = host
        host.endpoint.on_change.append(self._patterns.forget)

    def forget_sessions(self, sessions: Collection[bytes]) -> None:
        """End the flows of sessions that have ended."""
        self._patterns.forget_sessions(sessions)

    def open_untrusted(self, data: bytes, now: int) -> tuple[Recipient, OpenedFrame]:
        """Return an authentic frame and its recipient; raise PeerError with the reason otherwise."""
        known = self.recognise_untrusted(data, now)
        if known is not None:
            return known
        frame = parse_frame_untrusted(data)
        header = parse_header_untrusted(frame.header)
        host = self._hosts.get(header.dst)
        if host is None:
            raise PeerError("not_mine")
        opened = host.endpoint.open_untrusted(frame, header, now)
        if opened.claims is not None:
            key = host.endpoint.opening_key_untrusted(header, opened.claims)
            heard = host.endpoint.heard.get(header.session)
            if heard is not None:
                flow = Arrival(host, header, opened.claims, key, heard)
                self._patterns.learn(data, header, frame.token, flow)
        return host, opened

    def recognise_untrusted(self, data: bytes, now: int) -> tuple[Recipient, OpenedFrame] | None:
        """Return the same for a frame like one before; None, and nothing moved, for one to be asked everything."""
        known = self._known
        shape = known.get(data[:BEGIN]) or known.get(data[:LONG_BEGIN]) or known.get(data[:FIRST_BEGIN])
        if shape is None:
            return None
        try:
            seq, middle, deadline, length, correlation, end, mark, size = shape.cut(data)
            flow = shape.flows[middle]
            claims, heard = flow.claims, flow.heard
            rest = len(data) - 18
            start = shape.body + _HEAD[mark]
            if mark != 0xC4:
                size = size_untrusted(data, shape.body)
            if (
                end == flow.end
                and length == shape.length
                and len(data) - size == shape.other
                and TAG_BYTES <= size <= ROOM_MAX
                and data[rest : rest + 2] == PROOF_MARK
                and now < self._verifier.silent_from
                and claims.not_before <= now < claims.expires <= heard.until
                and now < deadline <= now + _AHEAD_MS
                and (not correlation or correlation[:SESSION_BYTES] == flow.host.endpoint.session)
                and heard.last < seq - flow.before
            ):
                sealed = data[start:rest] if size < _COPIED else memoryview(data)[start:rest]
                body = flow.key.decrypt(seq.to_bytes(12, "big"), sealed, data[shape.at : shape.end])
                heard.last = seq
                header = _new(Header, (1, shape.kind, shape.name, seq, *flow.middle, deadline, correlation, 0))
                return flow.host, OpenedFrame(header, body, claims)
        except (KeyError, InvalidTag, StructError):  # an unknown flow, another key's or other bytes, too short
            pass
        return None
