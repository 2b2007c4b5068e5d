"""The sound of one call: SRTP both ways, a jitter buffer, G.711 and digits. No sockets, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tlsrt.loops.sip.description import SrtpKey, Terms
from tlsrt.loops.sip.jitter import JitterBuffer
from tlsrt.loops.sip.message import SipError
from tlsrt.loops.sip.rtp import MAX_PACKET, Digits, RtpPacket, digit_payloads, parse_rtp_untrusted

try:
    import pylibsrtp as srtp
except ImportError:
    srtp = None  # type: ignore[assignment]

FRAME = 160  # samples of 20 ms at 8 kHz
RATE = 8000
SILENCE = bytes(2 * FRAME)
_WAITING = 50  # frames that wait to be sent or to be heard: a second
_SOURCES = 16  # sources (SSRC) that one key may have, in its life
_PROFILES = {
    "AEAD_AES_256_GCM": "SRTP_PROFILE_AEAD_AES_256_GCM", "AEAD_AES_128_GCM": "SRTP_PROFILE_AEAD_AES_128_GCM",
    "AES_CM_128_HMAC_SHA1_80": "SRTP_PROFILE_AES128_CM_SHA1_80",
}  # fmt: skip


def has_srtp() -> bool:
    """Whether pylibsrtp is installed."""
    return srtp is not None


@dataclass
class Figures:
    """What one call has carried. `refused` are packets that no key of the call has made, or that came twice."""

    sent: int = 0
    received: int = 0
    refused: int = 0


class Media:
    """Sends frames of s16 at 8 kHz, mono, and gives those of the other side: one of each, each 20 ms."""

    def __init__(self, terms: Terms, ours: SrtpKey, ssrc: int, sequence: int, timestamp: int) -> None:
        self.figures = Figures()
        self.digits: deque[str] = deque(maxlen=32)
        self._ssrc, self._sequence, self._timestamp = ssrc, sequence, timestamp
        self._sending = _session(ours, is_inbound=False)
        self._events: deque[tuple[int, bytes]] = deque()
        self._event_began = 0
        self._to_send: deque[bytes] = deque(maxlen=_WAITING)
        self.terms = terms
        self._renew(terms)

    @property
    def lost(self) -> int:
        """Frames that did not come in time, or not at all."""
        return self._jitter.lost

    @property
    def room(self) -> int:
        """Frames that still can wait to be sent."""
        return _WAITING - len(self._to_send)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._to_send and not self._events

    def change(self, terms: Terms) -> None:
        """Go on under other terms of the other side: its key, address, or direction have changed."""
        if self.terms.key != terms.key:
            self._renew(terms)
        elif (self.terms.address, self.terms.port) != (terms.address, terms.port):
            self.is_proven = False
        self.terms = terms

    def _renew(self, terms: Terms) -> None:
        self._receiving = _session(terms.key, is_inbound=True)
        self._theirs: int | None = None
        self._sources = 0
        self._codes, self._piece = b"", FRAME  # what is no whole frame yet, and the codes of a packet
        self._jitter = JitterBuffer()
        self._heard_digits = Digits()
        self.is_proven = False  # until a packet under the key has come from there, nothing is sent there

    def put(self, samples: bytes) -> None:
        """Take a frame to be sent; the oldest is left out when a second waits."""
        self._to_send.append(samples)

    def put_digit(self, digit: str) -> None:
        """Have a digit sent, as an event. Raises SipError if the other side takes none."""
        if self.terms.event_type is None:
            raise SipError("the other side takes no digits (telephone-event)", 488)
        if len(self._events) > 8 * 32:
            raise SipError("too many digits wait to be sent", 503)
        self._events.extend((number, payload) for number, payload in enumerate(digit_payloads(digit)))

    def next_packet(self) -> bytes | None:
        """Return the packet of these 20 ms; None while the other side has proven nothing, or wants to hear nothing."""
        self._timestamp = (self._timestamp + FRAME) & 0xFFFFFFFF
        is_held = self.terms.direction in ("sendonly", "inactive")
        if not self.is_proven or is_held:
            if is_held and self._to_send:
                self._to_send.popleft()
            return None
        self._sequence = (self._sequence + 1) & 0xFFFF
        if self._events:
            number, payload = self._events.popleft()
            if number == 0:
                self._event_began = self._timestamp
            packet = RtpPacket(
                self.terms.event_type or 0, self._sequence, self._event_began, self._ssrc, payload, number == 0
            )
        else:
            samples = self._to_send.popleft() if self._to_send else SILENCE
            codes = self.terms.law.encode(samples)
            packet = RtpPacket(self.terms.law.payload_type, self._sequence, self._timestamp, self._ssrc, codes)
        self.figures.sent += 1
        protected: bytes = self._sending.protect(packet.write())
        return protected

    def take_untrusted(self, data: bytes) -> bool:
        """Take a packet from the address of the terms; return whether it is of this call. Cannot fail."""
        if not 12 <= len(data) <= MAX_PACKET or 192 <= data[1] <= 223:  # RTCP on the same port (RFC 5761) is left out
            return False
        try:
            packet = parse_rtp_untrusted(self._receiving.unprotect(data))
        except (srtp.Error, SipError):  # another key, changed on the way, or there before
            self.figures.refused += 1
            return False
        if packet.ssrc != self._theirs:
            if self._sources == _SOURCES:  # each one takes memory
                self.figures.refused += 1
                return False
            self._sources += 1
            self._jitter, self._heard_digits, self._theirs = JitterBuffer(), Digits(), packet.ssrc
        self.is_proven = True
        self.figures.received += 1
        if packet.payload_type == self.terms.event_type:
            if digit := self._heard_digits.take_untrusted(packet):
                self.digits.append(digit)
            self._jitter.put(packet.sequence, b"")
        elif packet.payload_type == self.terms.law.payload_type:
            self._jitter.put(packet.sequence, packet.payload[: 4 * FRAME])
        return True

    def next_frame(self) -> bytes | None:
        """Return the frame of these 20 ms, silence for what is lost; None while nothing comes.

        A telephone may send pieces of 10 or 30 ms, whatever was asked for.
        """
        for _ in range(4):
            if len(self._codes) >= FRAME:
                break
            before = self._jitter.lost
            codes = self._jitter.take()
            if codes:
                self._piece = len(codes)
            elif codes is None and self._jitter.lost == before:
                break
            else:  # lost, or a digit
                codes = bytes([self.terms.law.silence]) * self._piece
            self._codes += codes
        if len(self._codes) < FRAME:
            return None
        frame, self._codes = self._codes[:FRAME], self._codes[FRAME:]
        return self.terms.law.decode(frame)


def _session(key: SrtpKey, *, is_inbound: bool) -> srtp.Session:
    kind = srtp.Policy.SSRC_ANY_INBOUND if is_inbound else srtp.Policy.SSRC_ANY_OUTBOUND
    policy = srtp.Policy(key=key.key, ssrc_type=kind, srtp_profile=getattr(srtp.Policy, _PROFILES[key.suite]))
    policy.window_size = 128
    return srtp.Session(policy)
