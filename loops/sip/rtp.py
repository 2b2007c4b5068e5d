"""Packets of RTP (RFC 3550) and telephone events in them (RFC 4733). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tlsrt.loops.sip.message import SipError

MAX_PACKET = 1400  # what fits a frame of Ethernet; 20 ms of G.711 with its SRTP take 182
_HEAD = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
DIGITS = "0123456789*#ABCD"


@dataclass(frozen=True)
class RtpPacket:
    """One packet, without padding and extensions."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False

    def write(self) -> bytes:
        """Return its bytes."""
        second = self.payload_type | (0x80 if self.marker else 0)
        return _HEAD.pack(0x80, second, self.sequence, self.timestamp, self.ssrc) + self.payload


def parse_rtp_untrusted(data: bytes) -> RtpPacket:
    """Return the packet of bytes whose authenticity was verified. Raises SipError."""
    if not 12 <= len(data) <= MAX_PACKET:
        raise SipError("a packet with a length that none of RTP has")
    first, second, sequence, timestamp, ssrc = _HEAD.unpack_from(data)
    if first >> 6 != 2:
        raise SipError("a packet of another version of RTP")
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < start + 4:
            raise SipError("a packet that ends in its extension")
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    end = len(data)
    if first & 0x20:
        end -= data[-1] or end
    if start > end:
        raise SipError("a packet that ends before its payload")
    return RtpPacket(second & 0x7F, sequence, timestamp, ssrc, data[start:end], bool(second & 0x80))


class Digits:
    """Takes telephone events, and gives each digit once, as it ends or is followed by another."""

    def __init__(self) -> None:
        self._last: int | None = None  # the timestamp of the event that was told

    def take_untrusted(self, packet: RtpPacket) -> str:
        """Return the digit that begins with this packet, empty if none does."""
        if len(packet.payload) < _EVENT.size or packet.timestamp == self._last:
            return ""
        event, _, _ = _EVENT.unpack_from(packet.payload)
        if event >= len(DIGITS):
            return ""
        self._last = packet.timestamp
        return DIGITS[event]


def digit_payloads(digit: str, step: int = 160) -> list[bytes]:
    """Return the payloads of a digit of 100 ms, one for each packet of 20 ms; its end comes three times (2.5.1.4)."""
    event = DIGITS.index(digit)
    going = [_EVENT.pack(event, 10, step * number) for number in range(1, 6)]
    return going + [_EVENT.pack(event, 0x80 | 10, step * 5)] * 3
