"""The trace that a call belongs to (W3C Trace Context), and as a request carries it. Pure but for one variable.

A traced REQUEST has it where the others have nothing, in the correlation: `trace id 16 | span id 8 | flags u8 | state`.
Whatever comes from outside is words of a stranger: what has not exactly the form is no trace.
"""

from __future__ import annotations

import contextvars
import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from tlsrt.channels.frames.frame import TRACE_MAX, FrameKind, Header
from tlsrt.errors import PeerError

T = TypeVar("T")

HEAD_BYTES = 25
STATE_MAX = TRACE_MAX - HEAD_BYTES  # bytes of tracestate; entries at its end are left out, as W3C says
SAMPLED = 1
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]{0,200})?")
_ENTRY = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,240}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")

# The trace of what runs now, encoded; empty for none. Calls take it along.
CURRENT: contextvars.ContextVar[bytes] = contextvars.ContextVar("tlsrt_trace", default=b"")


class Trace(NamedTuple):
    """A trace, and the span in it that what comes now belongs to."""

    trace_id: bytes  # 16
    span_id: bytes  # 8
    flags: int
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        """Tell whether its beginning was sampled, or says that it was."""
        return bool(self.flags & SAMPLED)

    @property
    def traceparent(self) -> str:
        """Return it as the header `traceparent` has it."""
        return f"00-{self.trace_id.hex()}-{self.span_id.hex()}-{self.flags & SAMPLED:02x}"

    def encode(self) -> bytes:
        """Return it as a request carries it."""
        return b"".join((self.trace_id, self.span_id, bytes((self.flags & SAMPLED,)), self.state.encode("ascii")))


def parse_trace_untrusted(traceparent: str, tracestate: str = "") -> Trace | None:
    """Return the trace of these two headers; None for what is none, which a receiver passes over. Cannot fail."""
    found = _PARENT.fullmatch(traceparent.strip(" \t")) if len(traceparent) < 300 else None
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5] is not None):
        return None
    trace_id, span_id = bytes.fromhex(found[2]), bytes.fromhex(found[3])
    if not any(trace_id) or not any(span_id):
        return None
    return Trace(trace_id, span_id, int(found[4], 16) & SAMPLED, _state_untrusted(tracestate))


def _state_untrusted(text: str) -> str:
    """Return the first entries of a tracestate that there is room for; nothing of one that is malformed."""
    state = ""
    entries = [one.strip(" \t") for one in text[:4096].split(",")]
    for entry in [one for one in entries if one][:32]:
        if _ENTRY.fullmatch(entry) is None:
            return ""
        if len(state) + bool(state) + len(entry) > STATE_MAX:  # the comma between two
            break
        state = f"{state},{entry}" if state else entry
    return state


def decode_trace_untrusted(data: bytes) -> Trace:
    """Return the trace of a request. Raises PeerError for what is none."""
    trace_id, span_id, state = data[:16], data[16:24], data[HEAD_BYTES:]
    if not HEAD_BYTES <= len(data) <= TRACE_MAX or data[24] > SAMPLED or not any(trace_id) or not any(span_id):
        raise PeerError("correlated_request")
    if not all(0x20 <= byte < 0x7F for byte in state) or _state_untrusted(state.decode("ascii")) != state.decode(
        "ascii"
    ):
        raise PeerError("correlated_request")
    return Trace(trace_id, span_id, data[24], state.decode("ascii"))


def check_trace_untrusted(header: Header) -> None:
    """Raise PeerError for a request whose correlation, which is there, is no trace."""
    if header.kind != FrameKind.REQUEST:
        raise PeerError("correlated_request")
    decode_trace_untrusted(header.correlation)


def begin_traced(trace: bytes, begin: Callable[[], T]) -> T:
    """Run something within an encoded trace, empty for none, and only that."""
    token = CURRENT.set(trace)
    try:
        return begin()
    finally:
        CURRENT.reset(token)


def current_trace() -> Trace | None:
    """Return the trace of what runs now, None for none."""
    data = CURRENT.get()
    return decode_trace_untrusted(data) if data else None
