"""Answers of HTTP/1.1: whole ones in any cut, bounds, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.supervisor.acme.http_answer import BODY_MAX, HEAD_MAX, Answer, AnswerReader

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nReplay-Nonce: abc\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: z\r\n\r\n"
)


def read(data: bytes, cuts: list[int], *, has_body: bool = True) -> Answer | None:
    reader, at = AnswerReader(has_body=has_body), 0
    for end in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        answer = reader.feed_untrusted(data[at:end])
        if answer is not None:
            return answer
        at = end
    return None


@given(st.lists(st.integers(0, 1000), max_size=20))
def test_a_whole_answer_however_it_is_cut(cuts: list[int]) -> None:
    assert read(LENGTH, cuts) == Answer(200, {"content-length": "5", "replay-nonce": "abc"}, b"hello")
    chunked = read(CHUNKED, cuts)
    assert chunked is not None and (chunked.status, chunked.body) == (201, b"hello")


def test_a_body_to_the_end_of_the_connection() -> None:
    reader = AnswerReader()
    assert reader.feed_untrusted(b"HTTP/1.0 200 OK\r\n\r\nhel") is None
    assert reader.feed_untrusted(b"lo") is None
    assert reader.end_untrusted().body == b"hello"


def test_an_answer_to_head_has_no_body() -> None:
    answer = read(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", [], has_body=False)
    assert answer is not None and answer.body == b""
    assert read(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", []) is not None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"x" * (HEAD_MAX + 1), "http_long_head"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "http_bad_status"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "http_bad_header"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "http_bad_header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "http_bad_length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", "http_bad_length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (BODY_MAX + 1), "http_long_body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "http_long_body"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (BODY_MAX + 1), "http_long_body"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "http_bad_encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "http_bad_encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "http_bad_chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", "http_long_body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", "http_bad_chunk"),
    ],
)
def test_what_is_no_answer_is_refused_and_bounded(data: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as caught:
        read(data, [])
    assert caught.value.reason == reason


@pytest.mark.parametrize("data", [b"", LENGTH[:-1], CHUNKED[:-1], b"HTTP/1.1 200 OK\r\n"])
def test_a_cut_answer_is_none(data: bytes) -> None:
    reader = AnswerReader()
    assert reader.feed_untrusted(data) is None
    with pytest.raises(PeerError, match="http_cut"):
        reader.end_untrusted()


def test_many_blanks_in_a_header_take_no_time() -> None:
    answer = read(b"HTTP/1.1 200 OK\r\na:" + b" \t" * 6000 + b"x\t \r\nContent-Length: 0\r\n\r\n", [])
    assert answer is not None and answer.headers["a"] == "x"
    with pytest.raises(PeerError, match="http_bad_header"):  # in cubic time: an hour and more
        read(b"HTTP/1.1 200 OK\r\na:" + b" " * 16_000 + b"\n\r\n\r\n", [])


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes_are_an_answer_or_refused(pieces: list[bytes]) -> None:
    reader = AnswerReader()
    try:
        for piece in pieces:
            reader.feed_untrusted(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + piece)
        reader.end_untrusted()
    except PeerError:
        pass
