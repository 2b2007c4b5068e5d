"""DNS messages: what is asked, and what of an answer is taken."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.supervisor.resolver.dns import AAAA, CNAME, MOST_ADDRESSES, NO_SUCH_NAME, A, Question, decode_untrusted

ASKED = Question(0x1234, b"mqtt.example.org", A)
TAIL = ASKED.encode()[12:]
ONE, TWO = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])


def wire(name: bytes) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in name.split(b".")) + b"\0"


def record(kind: int, data: bytes, owner: bytes = b"\xc0\x0c", ttl_s: int = 60) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, ttl_s, len(data)) + data


def answer(*records: bytes, number: int = 0x1234, flags: int = 0x8180, tail: bytes = TAIL) -> bytes:
    return struct.pack("!HHHHHH", number, flags, 1, len(records), 0, 0) + tail + b"".join(records)


def test_a_question_is_as_the_standard_has_it() -> None:
    assert ASKED.encode() == b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\4mqtt\7example\3org\0\0\1\0\1"


def test_addresses_are_taken_with_the_shortest_time() -> None:
    heard = decode_untrusted(answer(record(A, ONE), record(A, TWO, ttl_s=5), record(A, ONE)), ASKED)
    assert heard.addresses == (ONE, TWO) and heard.ttl_s == 5


def test_a_chain_of_names_is_followed_and_what_else_is_said_is_not_taken() -> None:
    other = wire(b"cdn.example.net")
    heard = decode_untrusted(
        answer(
            record(A, TWO, owner=wire(b"elsewhere.example")), record(CNAME, other, ttl_s=7),
            record(A, ONE, owner=other, ttl_s=9), record(AAAA, bytes(16), owner=other),
        ),
        ASKED,
    )  # fmt: skip
    assert heard.addresses == (ONE,) and heard.ttl_s == 7


def test_a_circle_of_names_ends() -> None:
    there, back = wire(b"a.example"), b"\xc0\x0c"
    heard = decode_untrusted(answer(record(CNAME, there), record(CNAME, back, owner=there)), ASKED)
    assert heard.addresses == ()


def test_no_answer_has_more_addresses_than_fit() -> None:
    records = [record(A, struct.pack("!I", number)) for number in range(100)]
    assert len(decode_untrusted(answer(*records), ASKED).addresses) == MOST_ADDRESSES


def test_a_time_beyond_all_times_is_none() -> None:
    assert decode_untrusted(answer(record(A, ONE, ttl_s=1 << 31)), ASKED).ttl_s == 0


def test_no_such_name_and_what_did_not_fit_are_said() -> None:
    assert decode_untrusted(answer(flags=0x8180 | NO_SUCH_NAME), ASKED).code == NO_SUCH_NAME
    assert decode_untrusted(answer(flags=0x8380), ASKED).is_truncated


@pytest.mark.parametrize(
    "packet",
    [
        b"", b"\x12\x34", answer(record(A, ONE), number=0x1235), answer(record(A, ONE), flags=0x0100),
        answer(record(A, ONE), tail=wire(b"other.example.org") + b"\0\1\0\1"),
        answer(record(A, ONE), tail=wire(b"mqtt.example.org") + b"\0\x1c\0\1"),
        answer(record(A, ONE))[:-1], answer(b"\xc0\xff" + record(A, ONE)[2:]), answer(b"\x40a" + record(A, ONE)),
        answer(record(A, ONE, owner=b"\xc0\x2d")), answer(wire(b".".join([b"a" * 60] * 5)) + record(A, ONE)[2:]),
    ],
)  # fmt: skip
def test_what_is_not_the_answer_is_refused(packet: bytes) -> None:
    with pytest.raises(PeerError, match="dns_"):
        decode_untrusted(packet, ASKED)


@given(st.binary(max_size=600))
def test_any_bytes_are_an_answer_or_the_one_error(data: bytes) -> None:
    for packet in (data, ASKED.encode()[:2] + b"\x81\x80" + data, answer() + data, answer(data)):
        try:
            heard = decode_untrusted(packet, ASKED)
        except PeerError:
            continue
        assert len(heard.addresses) <= MOST_ADDRESSES and all(len(one) == 4 for one in heard.addresses)
