"""Spans on their way from a process to the one that sends them away. Pure.

A process says of itself what it did. Which process that was is known by the socket, and is set by the reader.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgpack

from tlsrt.channels.control.export import SPAN_BYTES
from tlsrt.errors import PeerError

NAME_MOST = 161  # LOOP/COMPONENT/METHOD
ERROR_MOST = 64  # the code of an error
STATE_MOST = 128
LOST_MOST = 1_000_000
SPANS_BURST, SPANS_PER_S = 500, 200.0  # of one process: it says no more, and no more is read
_U64 = 1 << 64


class SpanKind(IntEnum):
    """What a span is of, by the numbers of OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


class Span(NamedTuple):
    """Something that a process did for a trace."""

    trace_id: bytes  # 16
    span_id: bytes  # 8
    parent_id: bytes  # 8; zeros: the first of its trace
    kind: SpanKind
    name: str
    component: str  # that did it
    peer: str  # who asked for it, or who was asked
    began_ns: int  # since 1970
    ended_ns: int
    error: str  # a code; empty if it went well
    state: str  # of the trace
    lost: int  # spans before it that were sampled and could not be said


_TYPES = (bytes, bytes, bytes, int, str, str, str, int, int, str, str, int)


def encode_span(span: Span) -> bytes:
    """Return it as one packet, within SPAN_BYTES whatever it holds."""
    data: bytes = msgpack.packb(
        span._replace(
            name=_cut(span.name, NAME_MOST), component=_cut(span.component, NAME_MOST),
            peer=_cut(span.peer, NAME_MOST), error=_cut(span.error, ERROR_MOST), state=_cut(span.state, STATE_MOST),
            lost=min(span.lost, LOST_MOST),
        )
    )  # fmt: skip
    return data


def _cut(text: str, most: int) -> str:
    return text[:most].encode("utf-8", "replace").decode()


def decode_span_untrusted(data: bytes) -> Span:
    """Return the span. Raises PeerError for what is none."""
    try:
        fields = msgpack.unpackb(data, use_list=False, max_array_len=len(_TYPES), max_map_len=0, max_ext_len=0)
    except Exception as error:
        raise PeerError("not_a_span") from error
    if type(fields) is not tuple or tuple(map(type, fields)) != _TYPES or len(data) > SPAN_BYTES:
        raise PeerError("not_a_span")
    span = Span(*fields)
    texts = ((span.name, NAME_MOST), (span.component, NAME_MOST), (span.peer, NAME_MOST), (span.error, ERROR_MOST))
    if (
        (len(span.trace_id), len(span.span_id), len(span.parent_id)) != (16, 8, 8)
        or not any(span.trace_id)
        or not any(span.span_id)
        or not all(0 <= number < _U64 for number in (span.began_ns, span.ended_ns))
        or not 0 <= span.lost <= LOST_MOST
        or any(len(text) > most for text, most in texts)
        or len(span.state) > STATE_MOST
        or not span.state.isascii()
        or not span.state.isprintable()
    ):
        raise PeerError("not_a_span")
    try:
        return span._replace(kind=SpanKind(span.kind))
    except ValueError:
        raise PeerError("not_a_span") from None
