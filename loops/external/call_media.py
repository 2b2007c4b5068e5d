"""The leg of a person: WebRTC, with sound both ways, pictures of a camera, and texts. asyncio, aiortc (PyAV, OpenSSL).

It answers offers, and makes none: so this host begins the handshake of DTLS, in which it needs no callback of
OpenSSL, as those want executable memory. The key of the other side is compared with the offer's when it is done.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    rtcpeerconnection,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import RTCCertificate
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.serialization import ssh
from OpenSSL import SSL

from tlsrt import InvalidArgument
from tlsrt.loops.external.call_leg import PIECE_BYTES, PIECE_S, RATE, SAMPLES, SOUND, TEXT, TEXT_BYTES, Piece, SaidSound
from tlsrt.loops.external.call_offer import checked_offer_untrusted, has_pictures
from tlsrt.loops.external.call_pictures import PictureDecoder, SeenPictures
from tlsrt.loops.external.call_port import CallPort

_ = concurrent.futures.thread, backend, ssh  # what these libraries import when they are first used
CLOSE_S = 1.0
PICTURES_PER_S = 15  # a camera may give 30
TEXTS_PER_S = 20
UNSENT_BYTES = 256 * 1024  # in the data channel of who does not read it
_CIPHERS = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"


class CallCertificate(RTCCertificate):
    """The key of one call."""

    def _create_ssl_context(self, srtp_profiles: Any) -> SSL.Context:
        """As in aiortc, without the callback that takes any certificate: a client takes any by VERIFY_NONE.

        Whose it is, aiortc's _validate_peer_identity() compares with the fingerprints of the offer.
        """
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_verify(SSL.VERIFY_NONE)
        context.use_certificate(self._cert)
        context.use_privatekey(self._key)
        context.set_cipher_list(_CIPHERS)
        context.set_tlsext_use_srtp(b":".join(one.openssl_profile for one in srtp_profiles))
        return context


class SaidTrack(MediaStreamTrack):
    """What a person is to hear, 20 ms at a time, by the clock."""

    kind = "audio"

    def __init__(self, said: SaidSound) -> None:
        super().__init__()
        self._said = said
        self._sent = 0
        self._begun_s = 0.0

    async def recv(self) -> av.AudioFrame:
        """Return the next 20 ms when it is time."""
        if self.readyState != "live":
            raise MediaStreamError
        now_s = time.monotonic()
        if not self._sent or now_s - self._begun_s - self._sent * PIECE_S > 1.0:  # it begins, or the process stood
            self._begun_s = now_s - self._sent * PIECE_S
        await asyncio.sleep(max(0.0, self._begun_s + self._sent * PIECE_S - now_s))
        frame = av.AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(self._said.take())
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._sent * SAMPLES, Fraction(1, RATE)
        self._sent += 1
        return frame


class SeenTrack(MediaStreamTrack):
    """What a person is to see: the newest picture, when it comes and the one before was sent."""

    kind = "video"

    def __init__(self, seen: SeenPictures, count: Callable[[str], None]) -> None:
        super().__init__()
        self._seen, self._count = seen, count
        self._decoder = PictureDecoder()
        self._begun_s = self._last_s = 0.0

    async def recv(self) -> av.VideoFrame:
        """Return the next picture. What is none is left out, and counted."""
        while self.readyState == "live":
            await asyncio.sleep(max(0.0, self._last_s + 1 / PICTURES_PER_S - time.monotonic()))
            picture = await self._seen.take()
            try:
                frame = await asyncio.to_thread(self._decoder.frame_untrusted, picture)
            except (InvalidArgument, OSError, ValueError):  # the library's own are kinds of the last two
                self._count("pictures_wrong")
                continue
            self._last_s = time.monotonic()
            self._begun_s = self._begun_s or self._last_s
            frame.pts, frame.time_base = round(90_000 * (self._last_s - self._begun_s)), Fraction(1, 90_000)
            self._count("pictures")
            return frame
        raise MediaStreamError


class PersonLeg:
    """One side of a call that is a browser."""

    def __init__(self, port: CallPort) -> None:
        self.said = SaidSound()
        self.seen: SeenPictures | None = None  # where it asks for pictures, and there are some
        self.is_connected = False
        self._port = port
        self._peer: RTCPeerConnection | None = None
        self._track = SaidTrack(self.said)
        self._picture_track: SeenTrack | None = None
        self._reading: asyncio.Task[None] | None = None
        self._channel: Any = None
        self._unsent: deque[str] = deque(maxlen=16)
        self._second, self._texts = 0, 0
        self._is_closed = False

    async def open(
        self, offer: str, heard: Callable[[Piece], None], changed: Callable[[str], None], *, has_camera: bool = False
    ) -> str:
        """Take an offer, and return the answer to it. Raises InvalidArgument.

        `heard` takes what the person says from then on, `changed` the state: connected, and then left (closed by the
        browser) or lost.
        """
        checked = checked_offer_untrusted(offer)
        self._port.use()
        setattr(rtcpeerconnection, "RTCCertificate", CallCertificate)  # noqa: B010 (it has no setting for that)
        self._heard, self._changed = heard, changed
        self._peer = peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.on("track", self._has_track)
        peer.on("datachannel", self._has_channel)
        peer.on("connectionstatechange", self._has_state)
        try:
            peer.addTrack(self._track)
            if has_camera and has_pictures(checked):
                self.seen = SeenPictures()
                self._picture_track = SeenTrack(self.seen, self._port.count)
                way = peer.addTransceiver(self._picture_track, "sendonly")
                codecs = RTCRtpSender.getCapabilities("video").codecs
                way.setCodecPreferences([one for one in codecs if one.mimeType in ("video/VP8", "video/rtx")])
            await peer.setRemoteDescription(RTCSessionDescription(checked, "offer"))
            await peer.setLocalDescription(await peer.createAnswer())
        except Exception as error:  # of an offer of anyone: whatever the library stumbles over
            await self.close()
            raise InvalidArgument(f"the offer cannot be answered: {str(error)[:200] or type(error).__name__}") from None
        return str(peer.localDescription.sdp)

    def tell(self, words: str) -> None:
        """Send a text on the data channel as soon as there is one; the last 16 are kept until then."""
        self._unsent.append(words)
        self._send_texts()

    def _send_texts(self) -> None:
        if self._channel is None or self._channel.readyState != "open" or self._channel.bufferedAmount > UNSENT_BYTES:
            return
        with suppress(Exception):  # it is closed meanwhile
            while self._unsent:
                self._channel.send(self._unsent.popleft())

    async def close(self) -> None:
        """Hang up: no sound goes from here on; the other side is told."""
        if self._is_closed:
            return
        self._is_closed = True
        self._track.stop()
        self.said.clear()
        if self._picture_track is not None and self.seen is not None:
            self._picture_track.stop()
            self.seen.clear()
        if self._reading is not None:
            self._reading.cancel()
        if self._peer is not None:
            with suppress(Exception):
                await asyncio.wait_for(self._peer.close(), CLOSE_S)

    async def figures(self) -> dict[str, Any]:
        """Return what RTCP says of its media: of sound and pictures that go there, and of sound that comes."""
        found: dict[str, Any] = {}
        if self._peer is None or self._is_closed:
            return found
        for one in (await self._peer.getStats()).values():
            if one.type == "inbound-rtp" and one.kind == "audio":
                heard = {"packets": one.packetsReceived, "lost": one.packetsLost, "jitter_ms": _ms(one.jitter / RATE)}
                found["from"] = heard
            elif one.type == "remote-inbound-rtp":
                told = found.setdefault("to" if one.kind == "audio" else "pictures", {})
                told.update(lost=one.packetsLost, lost_lately=one.fractionLost / 256)
                told["round_trip_ms"] = None if one.roundTripTime is None else _ms(one.roundTripTime)
            elif one.type == "outbound-rtp":
                told = found.setdefault("to" if one.kind == "audio" else "pictures", {})
                told.update(packets=one.packetsSent, bytes=one.bytesSent)
        if self.seen is None:
            found.pop("pictures", None)
        return found

    def _has_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and self._reading is None:
            self._reading = asyncio.ensure_future(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE, frame_size=SAMPLES)
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                for part in resampler.resample(frame):
                    self._heard(Piece(SOUND, bytes(part.planes[0])[:PIECE_BYTES]))

    def _has_channel(self, channel: Any) -> None:
        if self._channel is None:
            self._channel = channel
            channel.on("message", self._has_text)
            self._send_texts()

    def _has_text(self, words: Any) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._texts = second, 0
        self._texts += 1
        if not isinstance(words, str) or len(words.encode()) > TEXT_BYTES or self._texts > TEXTS_PER_S:
            self._port.count("texts_dropped")
            return
        self._heard(Piece(TEXT, words.encode()))

    def _has_state(self) -> None:
        if self._is_closed or self._peer is None:
            return
        if self._peer.connectionState == "connected":
            self.is_connected = True
            self._changed("connected")
        elif self._peer.connectionState == "closed":  # by the browser
            self._changed("left")
        elif self._peer.connectionState == "failed":
            self._changed("lost")


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
