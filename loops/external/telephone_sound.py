"""The sound of all calls: one datagram socket, and one beat of 20 ms that hears and speaks for each. asyncio.

A call takes what was made with its key and comes from the address and port that its telephone has named, or from the
address of its TLS connection: behind a NAT, or with several addresses, a telephone does not know its own. Nothing is
sent to a place before something of that kind has come from there, so no one can have this host flood another one.

A telephone system may name one port for all of its calls. A packet is of the call that has proven its source there
(SSRC, RFC 3550), which costs one try. The first of a call costs a try for each that it may be: these are counted.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from array import array
from itertools import chain, pairwise
from typing import Any

from tlsrt.loops.external.call_leg import DIGIT, SILENCE, HeardPieces, Piece, SaidSound, digit, sound
from tlsrt.loops.sip.call import Call
from tlsrt.loops.sip.media import Media
from tlsrt.loops.sip.message import SipError

BEAT_S = 0.02
LATE_S = 0.2  # so far behind, the beat goes on from now
TRIES = 1024  # keys that are tried in one beat on packets of no known source: 2 us each, so a tenth of a processor


class Leg:
    """The sound of one call, with the streams of who is called here, or rings."""

    def __init__(self, call: Call, peer: str, now_s: float) -> None:
        self.call = call
        self.peer = peer  # the address of the TLS connection
        self.place = ("", 0)  # where its sound comes from, and goes to
        self.source: int | None = None  # the SSRC that its key has proven there
        self.heard = HeardPieces()
        self.said = SaidSound()
        self.answered_s: float | None = None
        self.packet_s = now_s  # when the last packet came
        self._last = 0  # the last sample, from which the next frame goes on

    @property
    def media(self) -> Media:
        """What is there from the answer on."""
        assert self.call.media is not None
        return self.call.media

    def hear(self) -> None:
        """Hand over the 20 ms that have come."""
        frame = self.media.next_frame()
        if frame is not None:
            samples = widened(frame, self._last)
            self._last = array("h", frame)[-1]
            self.heard.put(sound(samples))
        while self.media.digits:
            self.heard.put(digit(self.media.digits.popleft()))

    async def say(self, piece: Piece) -> None:
        """Take a piece of who speaks here; a digit is sent as one, and text is left out."""
        if piece.kind == DIGIT:
            try:
                self.media.put_digit(piece.content.decode())
            except SipError:
                return
        elif piece.content and len(piece.content) == len(SILENCE):
            await self.said.put(piece.content)

    def speak(self) -> bytes | None:
        """Return the packet of the next 20 ms."""
        pcm = self.said.take()
        if pcm is not SILENCE:
            self.media.put(narrowed(pcm))
        return self.media.next_packet()


def widened(frame: bytes, last: int) -> bytes:
    """Return 20 ms of 8 kHz at 48 kHz, on straight lines between samples; `last` is the sample before."""
    between = (
        (one + step // 6, one + step // 3, one + step // 2, one + 2 * step // 3, one + 5 * step // 6, two)
        for one, two in pairwise(chain((last,), array("h", frame)))
        for step in (two - one,)
    )
    return array("h", chain.from_iterable(between)).tobytes()


def narrowed(pcm: bytes) -> bytes:
    """Return 20 ms of 48 kHz at 8 kHz, each sample the mean of six."""
    samples = array("h", pcm)
    parts = (samples[at::6] for at in range(6))
    return array("h", [sum(six) // 6 for six in zip(*parts, strict=True)]).tobytes()


class TelephoneSound(asyncio.DatagramProtocol):
    """The socket, and the legs by the address that they are heard from."""

    def __init__(self, log: logging.Logger) -> None:
        self.strangers = 0  # datagrams of no call
        self.refused = 0  # datagrams that no key of the call has made, or that came twice
        self.untried = 0  # datagrams of no known source, of which too many came in one beat
        self._log = log
        self._transport: asyncio.DatagramTransport | None = None
        self._legs: dict[Call, Leg] = {}
        self._by_place: dict[tuple[str, int], list[Leg]] = {}
        self._by_source: dict[tuple[str, int, int], Leg] = {}
        self._tries = TRIES
        self._beat: asyncio.TimerHandle | None = None
        self._at_s = 0.0

    @property
    def port(self) -> int:
        """Where sound is taken."""
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    async def open(self, listener: socket.socket) -> None:
        """Take what comes to a socket."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=listener)

    def connection_made(self, transport: Any) -> None:
        """Keep the socket."""
        self._transport = transport

    def error_received(self, exc: Exception) -> None:
        """A peer has closed its port (ECONNREFUSED), or is not heard from yet: the call tells."""

    def close(self) -> None:
        """End the beat."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def add(self, leg: Leg) -> None:
        """Begin with a call."""
        leg.place = (leg.media.terms.address, leg.media.terms.port)
        self._by_place.setdefault(leg.place, []).append(leg)
        self._legs[leg.call] = leg
        if self._beat is None:
            self._at_s = asyncio.get_running_loop().time()
            self._plan()

    def move(self, call: Call) -> None:
        """Hear a call from another place."""
        leg = self._legs.get(call)
        if leg is not None:
            self.remove(call)
            self.add(leg)

    def remove(self, call: Call) -> None:
        """End with a call."""
        leg = self._legs.pop(call, None)
        if leg is None:
            return
        self._take_out(leg)
        if not self._legs:
            self.close()

    def _take_out(self, leg: Leg) -> None:
        legs = self._by_place.get(leg.place, [])
        if leg in legs:
            legs.remove(leg)
        if not legs:
            self._by_place.pop(leg.place, None)
        if leg.source is not None and self._by_source.get((*leg.place, leg.source)) is leg:
            del self._by_source[*leg.place, leg.source]
        leg.source = None

    def silent(self, now_s: float, silent_s: float) -> list[Call]:
        """Return the calls from which nothing has come for so long."""
        return [call for call, leg in self._legs.items() if now_s - leg.packet_s > silent_s]

    def datagram_received(self, data: bytes, address: tuple[Any, ...]) -> None:
        """Take a packet."""
        place = (str(address[0]), int(address[1]))
        source = int.from_bytes(data[8:12], "big")  # in the clear, and of any sender: the key of the call decides
        known = self._by_source.get((*place, source))
        if known is not None and known.media.take_untrusted(data):
            known.packet_s = asyncio.get_running_loop().time()
            return
        here = self._by_place.get(place, [])
        legs = here + [
            leg for leg in self._legs.values()
            if leg.peer == place[0] and leg.place != place and not leg.media.is_proven
        ]  # fmt: skip
        if not legs:
            self.strangers += 1
            return
        for leg in legs:
            if leg is known:
                continue
            if not self._tries:
                self.untried += 1
                return
            self._tries -= 1
            if leg.media.take_untrusted(data):
                self._is_heard(leg, place, source)
                return
        self.refused += 1

    def _is_heard(self, leg: Leg, place: tuple[str, int], source: int) -> None:
        """Hear a call by this source from now on: it is there, whatever it has said."""
        leg.packet_s = asyncio.get_running_loop().time()
        self._take_out(leg)
        leg.place, leg.source = place, source
        self._by_place.setdefault(place, []).append(leg)
        self._by_source[*place, source] = leg

    def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        self._at_s += BEAT_S
        if loop.time() - self._at_s > LATE_S:
            self._at_s = loop.time()
        self._beat = loop.call_at(self._at_s, self._on_beat)

    def _on_beat(self) -> None:
        self._plan()
        self._tries = TRIES
        assert self._transport is not None
        for leg in list(self._legs.values()):
            leg.hear()
            packet = leg.speak()
            if packet is not None:
                self._transport.sendto(packet, leg.place)
