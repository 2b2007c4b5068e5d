"""What an offer of a browser has to be (SDP, RFC 8866; WebRTC, RFC 8829), before a library reads it. Pure."""

from __future__ import annotations

import re

from tlsrt import InvalidArgument

OFFER_BYTES = 16 * 1024
LINES_MAX = 512
_LINE = re.compile(r"[a-z]=[\x20-\x7e]{0,1024}")
_DROPPED = ("a=candidate:", "a=end-of-candidates", "a=remote-candidates:")
_FINGERPRINT = re.compile(r"a=fingerprint:sha-(?:256|384|512) [0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31,63}")
_PARTS = {"m=audio", "m=video", "m=application"}


def has_pictures(offer: str) -> bool:
    """Whether a checked offer asks for pictures."""
    return "\r\nm=video " in offer


def _check_pictures(lines: list[str]) -> None:
    begin = next(at for at, line in enumerate(lines) if line.startswith("m=video"))
    end = next((at for at in range(begin + 1, len(lines)) if lines[at].startswith("m=")), len(lines))
    part = lines[begin:end]
    if "a=recvonly" not in part or {"a=sendrecv", "a=sendonly"} & {*part}:
        raise InvalidArgument("the offer sends pictures, which this host does not take: say recvonly")
    if not any(line.lower().startswith("a=rtpmap:") and "vp8/90000" in line.lower() for line in part):
        raise InvalidArgument("the offer has pictures without VP8, which all browsers have")


def checked_offer_untrusted(offer: str) -> str:
    """Return an offer without the addresses in it. Raises InvalidArgument for one that is no offer of a call.

    It has one part of sound with Opus, at most one of pictures that are only received, with VP8, and at most one data
    channel, all in one bundle with one key, and lets this host begin the handshake. An
    address in it is not used: where a peer is, it proves from there.
    """
    if len(offer) > OFFER_BYTES:
        raise InvalidArgument(f"the offer has {len(offer)} characters: at most {OFFER_BYTES}")
    lines = offer.replace("\r\n", "\n").rstrip("\n").split("\n")
    if len(lines) > LINES_MAX or not all(_LINE.fullmatch(line) for line in lines):
        raise InvalidArgument("the offer is no SDP: give the `sdp` of the browser's createOffer()")
    parts = [line.split(" ")[0] for line in lines if line.startswith("m=")]
    if parts.count("m=audio") != 1 or len(parts) > len({*parts}) or {*parts} - _PARTS:
        raise InvalidArgument(
            "the offer has to have sound once, a data channel and pictures at most once, nothing else"
        )
    if "m=video" in parts:
        _check_pictures(lines)
    if len(parts) > 1 and not any(line.startswith("a=group:BUNDLE ") for line in lines):
        raise InvalidArgument("the offer is not in one bundle: set bundlePolicy to max-bundle")
    if not any(line.lower().startswith("a=rtpmap:") and "opus/48000" in line.lower() for line in lines):
        raise InvalidArgument("the offer has no Opus, which all browsers have")
    prints = {line for line in lines if line.startswith("a=fingerprint:")}
    if not prints or not all(_FINGERPRINT.fullmatch(line) for line in prints):
        raise InvalidArgument("the offer has no fingerprint of SHA-256 or more: calls are encrypted")
    if {line for line in lines if line.startswith("a=setup:")} - {"a=setup:actpass", "a=setup:passive"}:
        raise InvalidArgument("the offer says a=setup:active: this host begins the handshake, say actpass")
    if "a=ice-lite" in lines:
        raise InvalidArgument("the offer says a=ice-lite: this host sends to no address that has not asked first")
    kept = [line for line in lines if not line.startswith(_DROPPED)]
    return "\r\n".join(kept) + "\r\n"
