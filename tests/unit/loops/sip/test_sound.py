"""G.711, RTP, digits and the jitter buffer."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.sip.g711 import LAWS, PCMA, PCMU, Law
from tlsrt.loops.sip.jitter import JitterBuffer
from tlsrt.loops.sip.message import SipError
from tlsrt.loops.sip.rtp import Digits, RtpPacket, digit_payloads, parse_rtp_untrusted


def test_codes_are_those_of_the_recommendation() -> None:
    """Ends and middle of the tables of G.711, as samples of 16 bits."""
    assert array("h", PCMU.decode(bytes([0x00, 0x80, 0xFF, 0x7F]))).tolist() == [-32124, 32124, 0, 0]
    assert array("h", PCMA.decode(bytes([0x2A, 0xAA, 0xD5, 0x55]))).tolist() == [-32256, 32256, 8, -8]


@pytest.mark.parametrize("law", [*LAWS.values()], ids=lambda law: law.name)
def test_a_sample_is_what_is_nearest_to_it(law: Law) -> None:
    for value in (-32768, -20000, -1000, -9, 0, 7, 500, 12345, 32767):
        [heard] = array("h", law.decode(law.encode(array("h", [value]).tobytes())))
        assert abs(heard - value) <= max(8, abs(value) // 16)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_packet_or_the_one_error(data: bytes) -> None:
    try:
        packet = parse_rtp_untrusted(data)
    except SipError:
        return
    assert parse_rtp_untrusted(packet.write()) == packet


def test_padding_and_extensions_are_left_out() -> None:
    head = bytes([0xB1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(4)
    packet = parse_rtp_untrusted(head + b"\xbe\xde\x00\x01abcd" + b"sound" + b"\x00\x02")
    assert packet.payload == b"sound" and packet.sequence == 1


def test_a_digit_is_told_once_whatever_is_lost() -> None:
    digits = Digits()
    packets = [RtpPacket(101, at, 800, 1, payload) for at, payload in enumerate(digit_payloads("#"))]
    told = [digits.take_untrusted(packet) for packet in packets[3:] + packets[:2]]
    assert told == ["#", *[""] * (len(told) - 1)]
    assert digits.take_untrusted(RtpPacket(101, 9, 1600, 1, digit_payloads("#")[0])) == "#"
    assert digits.take_untrusted(RtpPacket(101, 10, 2400, 1, b"\xff\0\0\0")) == ""


def taken(buffer: JitterBuffer, count: int) -> list[bytes | None]:
    return [buffer.take() for _ in range(count)]


def test_what_comes_in_another_order_is_heard_in_the_right_one() -> None:
    buffer = JitterBuffer()
    for number in (65535, 1, 0, 2):
        buffer.put(number, b"%d" % number)
    assert taken(buffer, 5) == [b"65535", b"0", b"1", b"2", None] and buffer.lost == 0


def test_what_is_lost_is_counted_and_what_is_late_left_out() -> None:
    buffer = JitterBuffer()
    for number in (0, 1, 3, 4):
        buffer.put(number, b"%d" % number)
    assert taken(buffer, 4) == [b"0", b"1", None, b"3"]
    buffer.put(2, b"2")
    assert (buffer.lost, buffer.late) == (1, 1)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 65535)), max_size=200))
def test_any_order_is_held_in_bounds(steps: list[tuple[bool, int]]) -> None:
    buffer = JitterBuffer(most=10)
    for is_put, number in steps:
        if is_put:
            buffer.put(number, b"x")
        else:
            assert buffer.take() in (None, b"x")
        assert len(buffer._pieces) <= 10
