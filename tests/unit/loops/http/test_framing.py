"""Where a request ends: what can be read in two ways is refused before anything of it is parsed."""

from __future__ import annotations

import time

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.http.framing import BODY_MAX, CHUNKS_MAX, HEAD_MAX, LINES_MAX, RequestFraming
from tlsrt.loops.http.response import Problem

POST = b"POST /v1/call/a/b/c HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def status_of(data: bytes) -> int:
    """Return the status by which bytes are refused; 200 if they pass."""
    try:
        RequestFraming().take_untrusted(data)
    except Problem as problem:
        return problem.status
    return 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 2, 2\r\n\r\nab", 400),
        (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400),
        (POST + b"Content-Length: +2\r\n\r\nab", 400),
        (POST + b"Content-Length: 2_0\r\n\r\nab", 400),
        (POST + b"Content-Length:\r\n\r\nab", 400),
        (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
        (POST + b"Transfer-Encoding : chunked\r\n\r\n", 400),
        (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /v1/ HTTP/1.1\nHost: h\r\n\r\n", 400),
        (b"GET /v1/ HTTP/1.1\r\nHost: h\n\r\n", 400),
        (b"GET /v1/ HTTP/1.1\r\nHost: h\r\n\n", 400),
        (POST + b"X: a\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (POST + b"X: a\rY: b\r\n\r\n", 400),
        (POST + b"X: a\r\n folded\r\n\r\n", 400),
        (POST + b"X: a\r\n\tfolded\r\n\r\n", 400),
        (POST + b"X: a\x00b\r\n\r\n", 400),
        (POST + b"no colon\r\n\r\n", 400),
        (b"GET  /v1/ HTTP/1.1\r\n", 400),
        (b" GET /v1/ HTTP/1.1\r\n", 400),
        (b"GET /v1/\r\n", 400),
        (b"GET /v1/ http/1.1\r\n", 400),
        (b"\x16\x03\x01", 400),
        (b"GET /v1/ HTTP/1.2\r\n", 505),
        (b"GET /v1/ HTTP/2.0\r\n", 505),
        (b"GET /v1/ HTTP/9.9\r\n", 505),
        (b"GET /v1/ HTTP/0.9\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /" + b"a" * HEAD_MAX, 431),
        (b"GET /v1/ HTTP/1.1\r\nHost: h\r\nX: " + b"a" * (17 * 1024) + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
        (b"\r\n" * HEAD_MAX, 431),
        (b"\r\n" * (LINES_MAX + 1), 431),
        (POST + b"a:\r\n" * LINES_MAX + b"\r\n", 431),
        (CHUNKED + b"1\r\na\r\n" * CHUNKS_MAX + b"0\r\n\r\n", 400),
        (CHUNKED + b"1\r\na\r\n" * (CHUNKS_MAX // 2) + b"0\r\n" + b"a:\r\n" * CHUNKS_MAX + b"\r\n", 431),
        (CHUNKED + b"1;" + b"x" * 20_480 + b"\r\na\r\n0\r\n\r\n", 431),
        (CHUNKED + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 20, 431),
        (CHUNKED + b"0\r\n" + b"X: y\r\n" * 4000, 431),
        (CHUNKED + b"1\na\r\n", 400),
        (CHUNKED + b"1 \r\na\r\n", 400),
        (CHUNKED + b"0x1\r\na\r\n", 400),
        (CHUNKED + b"1\r\nab\r\n", 400),
        (CHUNKED + b"1\r\na\n", 400),
        (CHUNKED + b"0\r\nX: a\r\n folded\r\n\r\n", 400),
        (CHUNKED + b"0\r\n\n", 400),
        (CHUNKED + b"%x\r\n" % (BODY_MAX + 1), 413),
        (POST + b"Content-Length: 99999999\r\n\r\n", 413),
        (POST + b"Content-Length: %d\r\n\r\n" % BODY_MAX, 200),
        (b"\r\nGET /v1/ HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        (b"GET /v1/ HTTP/1.0\r\n\r\n", 200),
        (POST + b"X:\t spaces \xe4 \r\nY:\r\n\r\n", 200),
        (CHUNKED + b"1;name=value\r\na\r\n0\r\nX: y\r\n\r\n", 200),
    ],
)
def test_what_can_be_read_in_two_ways_or_is_too_large_is_refused(data: bytes, status: int) -> None:
    assert status_of(data) == status
    assert in_pieces(data) == status, "however it arrives"


def in_pieces(data: bytes) -> int:
    framing = RequestFraming()
    try:
        for at in range(0, len(data), 7):
            framing.take_untrusted(data[at : at + 7])
    except Problem as problem:
        return problem.status
    return 200


def test_what_follows_a_request_is_held_until_the_next_one() -> None:
    framing = RequestFraming()
    first = CHUNKED + b"2\r\nab\r\n0\r\n\r\n"
    assert framing.is_idle
    assert framing.take_untrusted(first + POST + b"Content-Len") == first
    assert framing.ahead == len(POST + b"Content-Len") and not framing.is_idle
    assert framing.next_untrusted() == b"" and framing.ahead == 0
    assert framing.take_untrusted(b"gth: 1\r\n\r\nabc") == POST + b"Content-Length: 1\r\n\r\na"
    assert framing.ahead == 2


def test_nothing_is_parsed_before_the_head_is_whole() -> None:
    framing = RequestFraming()
    head = POST + b"Content-Length: 3\r\n\r\n"
    assert b"".join(framing.take_untrusted(head[at : at + 1]) for at in range(len(head) - 1)) == b""
    assert framing.take_untrusted(head[-1:]) == head
    assert framing.take_untrusted(b"a") == b"a"


@given(st.lists(st.sampled_from([
    b"GET /v1/ HTTP/1.1\r\nHost: h\r\n\r\n", b"\r\n", POST + b"Content-Length: 3\r\n\r\nabc",
    CHUNKED + b"3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n", b"\n", b" ", b"0\r\n\r\n", CHUNKED, b"Content-Length: 1\r\n",
]), max_size=6), st.lists(st.integers(1, 40), max_size=8))  # fmt: skip
def test_h11_finds_the_end_of_each_request_where_the_framing_finds_it(parts: list[bytes], cuts: list[int]) -> None:
    data, framing = b"".join(parts), RequestFraming()
    pieces, at = [], 0
    for cut in [*cuts, len(data)]:
        pieces.append(data[at : at + cut])
        at += cut
    passed = b""
    try:
        for piece in pieces:
            passed += framing.take_untrusted(piece)
            while framing.ahead:
                check_whole(passed)
                passed = framing.next_untrusted()
    except Problem:
        return


def check_whole(data: bytes) -> None:
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(data)
    while not isinstance(parser.next_event(), h11.EndOfMessage):
        continue
    assert parser.trailing_data[0] == b""


@pytest.mark.parametrize("start", [POST, CHUNKED + b"0\r\n"], ids=["header", "trailer"])
@pytest.mark.parametrize("blank", [b" ", b"\t", b" \t"])
def test_no_line_takes_long(start: bytes, blank: bytes) -> None:
    """Blanks after the colon were looked at once for each of them; the bound is wide, as other tests run beside."""
    before = time.process_time()
    assert status_of(start + b"a:" + blank * (8_000 // len(blank)) + b"\x01\r\n\r\n") == 400
    assert time.process_time() - before < 0.05


def test_a_body_in_small_chunks_costs_no_more_than_a_plain_one() -> None:
    """What is counted is what h11 gets, as most of the time is its: 1.5 s for 262,144 chunks of a byte."""
    for step in (1, 16, 64, 256):
        framing, passed = RequestFraming(), 0
        parts = iter([CHUNKED, *[b"%x\r\n%b\r\n" % (step, b"x" * step)] * (BODY_MAX // step)])
        try:
            for part in parts:
                passed += len(framing.take_untrusted(part))
        except Problem as problem:
            assert problem.status == 400  # noqa: PT017  # what was passed before counts
        assert passed < CHUNKS_MAX * (step + 8) + len(CHUNKED) and next(parts, None) is not None
    with pytest.raises(Problem, match="fewer than 512 chunks: send larger ones, or a Content-Length"):
        RequestFraming().take_untrusted(CHUNKED + b"1\r\na\r\n" * CHUNKS_MAX)
    assert status_of(CHUNKED + (b"400\r\n%b\r\n" % (b"x" * 1024)) * 256 + b"0\r\n\r\n") == 200
