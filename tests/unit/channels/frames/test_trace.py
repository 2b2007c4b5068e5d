"""Traces: what strangers say is one or none, and what a request carries is exactly one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.client.tracing import traced
from tlsrt.channels.frames.frame import TRACE_MAX
from tlsrt.channels.frames.trace import (
    STATE_MAX,
    Trace,
    begin_traced,
    current_trace,
    decode_trace_untrusted,
    parse_trace_untrusted,
)
from tlsrt.errors import InvalidArgument, PeerError

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_example_of_the_specification() -> None:
    trace = parse_trace_untrusted(PARENT, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
    assert trace is not None and trace.traceparent == PARENT and trace.is_sampled
    assert trace.state == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    assert decode_trace_untrusted(trace.encode()) == trace
    later = parse_trace_untrusted(f"cc{PARENT[2:]}-what-will-be")
    assert later is not None and later.traceparent == PARENT


@pytest.mark.parametrize(
    "said",
    [
        "", "00", PARENT.upper(), f"{PARENT}-x", f"ff{PARENT[2:]}",
        PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        PARENT.replace("00f067aa0ba902b7", "0" * 16), f"{PARENT}\n", f"{PARENT}, {PARENT}", PARENT.replace("-01", "-1"),
        PARENT.replace("4b", "4٣"), "cc" + PARENT[2:] + "-" + "x" * 400,
    ],
)  # fmt: skip
def test_what_is_malformed_is_no_trace(said: str) -> None:
    assert parse_trace_untrusted(said) is None


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a=1, b=2 ,,c=3", "a=1,b=2,c=3"), ("a=1,b", ""), ("a=\n", ""), ("a=é", ""), ("A=1", ""),
        (f"a={'1' * 100},b={'2' * 100}", f"a={'1' * 100}"), (f"a={'1' * 200}", ""),
    ],
)  # fmt: skip
def test_a_state_is_kept_as_far_as_there_is_room(said: str, kept: str) -> None:
    trace = parse_trace_untrusted(PARENT, said)
    assert trace is not None and trace.state == kept and len(kept) <= STATE_MAX


@given(
    st.text(max_size=80) | st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True),
    st.text(max_size=300),
)
def test_any_words_are_one_that_goes_through_or_none(parent: str, state: str) -> None:
    trace = parse_trace_untrusted(parent, state)
    if trace is not None:
        assert len(trace.encode()) <= TRACE_MAX and decode_trace_untrusted(trace.encode()) == trace


@given(st.binary(max_size=180) | st.binary(min_size=24, max_size=24).map(lambda ids: ids + b"\x01a=b"))
def test_any_bytes_are_one_with_one_encoding_or_the_one_error(data: bytes) -> None:
    try:
        trace = decode_trace_untrusted(data)
    except PeerError:
        return
    assert trace.encode() == data and parse_trace_untrusted(trace.traceparent, trace.state) == trace


def test_one_entry_may_fill_the_room_of_a_state() -> None:
    state = "a=" + "b" * (STATE_MAX - 2)
    assert decode_trace_untrusted(bytes(15) + b"\x01" + bytes(7) + b"\x01\x01" + state.encode()).state == state


def test_a_block_says_the_trace_of_its_calls() -> None:
    with traced(PARENT, "a=b") as trace:
        assert current_trace() == trace == Trace(trace.trace_id, trace.span_id, 1, "a=b")
    assert current_trace() is None
    with pytest.raises(InvalidArgument), traced("no"):
        pass


def test_what_runs_within_a_trace_leaves_none_behind() -> None:
    seen: list[Trace | None] = []
    with traced(PARENT) as trace:
        begin_traced(b"", lambda: seen.append(current_trace()))
        with pytest.raises(ZeroDivisionError):
            begin_traced(b"x", lambda: seen.extend([None] * (1 // 0)))
        assert current_trace() == trace
    assert seen == [None] and current_trace() is None
