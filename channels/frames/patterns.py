"""Recognising frames by their bytes: frames that are laid out as one that was parsed before. Pure.

Most frames of a host are like one that has just passed: only number, deadline, correlation, body and proof differ. A
*shape* is the layout of one frame that was parsed: its begin up to the mark of the number (which says how long that
is), and from there fields at fixed places. A later frame with the same begin is cut at these places, which costs a
third of parsing it. What is known about frames with one middle (source, destination, incarnations, method, epoch)
is its *flow*, and belongs to the owner of the patterns: the gate (`loops/gate/fast_path.py`) and recipients
(`loops/dispatch/fast_path.py`).

Why the bytes say what the parser would: msgpack is read from left to right and every field ends itself. The fields in
the middle have to be bytes that were parsed before, the marks of deadline, correlation and body have to say the
lengths that they are cut to, and the body has to end where the proof begins: then no other reading exists. The first
127 numbers of a session are one byte without a mark: their shape begins one byte earlier, and reads the byte with a
sign. A mark that stands there instead is then a negative number, which no session's last number is below. Encodings
that are not the shortest are not recognised and are for the parser; so are frames with flags, and the first 127 with a
long header.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from struct import Struct
from typing import Generic, Protocol, TypeVar

import msgpack

from tlsrt.channels.frames.frame import BODY_MAX, BUNDLES, SESSION_BYTES, TAG_BYTES, FrameKind, Header


class Noted(Protocol):
    """What every flow has. Both are empty once it is forgotten: an open call may keep it for long."""

    end: bytes  # of the header, and the token as it stands behind it
    token: bytes  # and as it is authenticated: length u32 | token


Flow = TypeVar("Flow", bound=Noted)

FLOWS_MAX = 4096  # of all shapes together, without another word; then those of a quarter of the sessions go
SHAPE_FLOWS_MAX = 256  # flows of one shape; then these begin anew
TOKEN_BYTES = 2048  # for each flow that there may be, of the tokens that flows share; each counts three times
QUARTERS = 4
BEGIN, LONG_BEGIN = 25, 26  # bytes with the number's mark; one more where the header's length takes two
FIRST_BEGIN = 24  # of the first 127 frames of a session, whose numbers have no mark
PROOF_MARK = b"\xc4\x10"
ROOM_MAX = BODY_MAX + TAG_BYTES + 3  # what `size` may be at most: see `size_untrusted`
RECOGNISED = frozenset({int(FrameKind.REQUEST), int(FrameKind.REPLY), int(FrameKind.REQUESTS), int(FrameKind.REPLIES)})
_NUMBERS = {0xCC: "B", 0xCD: "H", 0xCE: "I"}  # the mark of an integer: what follows it
_u16, _u32 = Struct(">H").unpack_from, Struct(">I").unpack_from
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


class FramePattern(Generic[Flow]):
    """The layout of frames of one session and kind whose headers are equally long."""

    __slots__ = ("at", "body", "cut", "end", "flows", "kind", "layout", "length", "name", "other", "size")

    def __init__(self, header: Header, layout: Struct, bounds: tuple[int, int], length: bytes) -> None:
        self.name = header.session
        self.kind = int(header.kind)
        self.layout = layout.format
        self.cut = layout.unpack_from  # number, middle, deadline, marks, correlation, flags and token, mark and size
        self.at, self.end = bounds  # of the header
        self.size = (self.end - self.at).to_bytes(4, "big")
        self.length = length  # mark and length of the correlation
        self.body = layout.size - 2
        self.other = self.body + 2 + 2 + TAG_BYTES  # of the frame's bytes: all but a body's with a short length
        self.flows: dict[bytes, Flow] = {}


class _SharedToken:
    """A token as its flows compare it and as it is authenticated: they all have the same bytes in memory."""

    __slots__ = ("authenticated", "end", "flows")

    def __init__(self, token: bytes) -> None:
        self.end = b"\0" + bytes(_pack(token))
        self.authenticated = len(token).to_bytes(4, "big") + token
        self.flows = 0  # that have it


class FramePatterns(Generic[Flow]):
    """The shapes that are known, with at most `flows_max` flows. `known` is read where a call costs too much."""

    def __init__(self, flows_max: int = FLOWS_MAX) -> None:
        self.known: dict[bytes, FramePattern[Flow]] = {}
        self.flows = 0  # of all shapes
        self._flows_max = flows_max
        self._begins: dict[bytes, set[bytes]] = {}  # session -> the shapes that it has
        self._tokens: dict[bytes, _SharedToken] = {}
        self._token_bytes = 0
        self._token_bytes_max = TOKEN_BYTES * flows_max
        self._quarter = 0  # whose turn it is to go

    def forget(self) -> None:
        """Forget everything: what flows stand for has changed, or they are too many."""
        for shape in self.known.values():
            self._release(shape.flows.values())
        self.known.clear()
        self._begins.clear()

    def forget_sessions(self, sessions: Collection[bytes]) -> None:
        """Forget the shapes of sessions that have ended, and no other. It costs what these sessions have."""
        for session in sessions:
            for begin in self._begins.pop(session, ()):
                self._release(self.known.pop(begin).flows.values())

    def _make_room(self) -> None:
        """Forget a quarter of the sessions. The authority draws their ids, so no sender chooses who goes.

        With more sessions than there is room for, one that comes again finds its flow in most cases. Forgetting the
        oldest, or all, would find none if all take turns: each message would cost a signature.
        """
        for _ in range(QUARTERS):
            turn, self._quarter = self._quarter, (self._quarter + 1) % QUARTERS
            self.forget_sessions([session for session in self._begins if session[-1] % QUARTERS == turn])
            if self.flows < self._flows_max and self._token_bytes < self._token_bytes_max:
                return

    def learn(self, data: bytes, header: Header, token: bytes, flow: Flow) -> None:
        """Note the flow of a parsed frame of the shortest encoding, and fill in its `end` and `token`.

        Compare the end, flags and token as they stand in the frame, for a shape says their length only.
        """
        if header.flags or header.kind not in RECOGNISED or (header.part and header.kind not in BUNDLES):
            return
        if header.correlation and header.kind == FrameKind.REQUEST:
            return  # its trace is for the parser
        at = 3 if data[1] == 0xC4 else 4
        if data[0] != 0x94 or data[at : at + 21] != bytes((0x9E, 1, header.kind, 0xC4, 16)) + header.session:
            return  # one byte more, and the session's last byte would be taken for the number's mark
        end = at + int.from_bytes(data[2:at], "big")
        begin = at + 5 + SESSION_BYTES + 1
        length = len(header.correlation)
        shared = self._tokens.get(token) or _SharedToken(token)
        number = _NUMBERS.get(data[begin - 1])
        if data[begin - 1] < 0x80 and begin == BEGIN:
            number, begin = "b", FIRST_BEGIN
        deadline = "I" if header.deadline < 1 << 32 else "Q"
        middle = b"".join(map(_pack, header[4:11])) + (b"\xce" if deadline == "I" else b"\xcf")
        if number is None:
            return
        packed = _pack(header.correlation)
        marks = packed[: len(packed) - length]
        layout = Struct(f">{begin}x{number}{len(middle)}s{deadline}{len(marks)}s{length}s{len(shared.end)}sBB")
        if layout.size != end + len(shared.end) + 1 or len(data) < layout.size:
            return
        cut = layout.unpack_from(data)
        if cut[:6] != (header.seq, middle, header.deadline, marks, header.correlation, shared.end):
            return
        if self.flows >= self._flows_max or self._token_bytes >= self._token_bytes_max:
            self._make_room()
        known = self.known.get(data[:begin])
        if known is None or known.layout != layout.format or len(known.flows) >= SHAPE_FLOWS_MAX:
            if known is not None:
                self._release(known.flows.values())
            known = self.known[data[:begin]] = FramePattern(header, layout, (at, end), marks)
            self._begins.setdefault(header.session, set()).add(data[:begin])
        before = known.flows.get(middle)
        if before is not None:
            self._release((before,))
        shared = self._tokens.setdefault(token, shared)
        if shared.flows == 0:
            self._token_bytes += 3 * len(token)
        shared.flows += 1
        self.flows += 1
        flow.end, flow.token = shared.end, shared.authenticated
        known.flows[middle] = flow

    def _release(self, flows: Iterable[Flow]) -> None:
        """Take the bytes of the token away from flows that are forgotten, and forget it with the last of them."""
        for flow in flows:
            token = flow.token[4:]
            shared = self._tokens[token]
            shared.flows -= 1
            if shared.flows == 0:
                del self._tokens[token]
                self._token_bytes -= 3 * len(token)
            self.flows -= 1
            flow.end = flow.token = b""


def size_untrusted(data: bytes, at: int) -> int:
    """Return how much longer than two bytes a bin is that needs more for its length; 0 for anything else."""
    mark = data[at]
    if mark == 0xC5:
        size = int(_u16(data, at + 1)[0])
        return size + 1 if size >= 1 << 8 else 0
    size = int(_u32(data, at + 1)[0]) if mark == 0xC6 else 0
    return size + 3 if size >= 1 << 16 else 0
