"""Session descriptions (RFC 8866) of one audio stream with SRTP by SDES (RFC 4568): read, and written. Pure."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from tlsrt.loops.sip.g711 import LAWS, PCMA, PCMU, Law
from tlsrt.loops.sip.message import SipError

NO_SRTP = "this host takes calls with SRTP only: offer RTP/SAVP and a=crypto (RFC 4568)"
NO_LAW = "this host takes PCMU and PCMA (G.711) only"
SUITES = {"AEAD_AES_256_GCM": 44, "AEAD_AES_128_GCM": 28, "AES_CM_128_HMAC_SHA1_80": 30}  # bytes of key and salt
_PROFILES = ("RTP/SAVP", "RTP/SAVPF")
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_ANSWERS = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_CRYPTO = re.compile(
    r"crypto:([0-9]{1,9}) ([A-Z0-9_]{1,64}) inline:([A-Za-z0-9+/=]{16,128})(?:\|2\^[0-9]{1,2}|\|[0-9]{1,15})?"
)
_MEDIA = re.compile(r"m=([a-z]{1,16}) ([0-9]{1,5})(?:/1)? ([A-Z/a-z0-9]{1,32})((?: [A-Za-z0-9.+-]{1,16}){1,32})")
_LINES, _STREAMS = 128, 8
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]


@dataclass(frozen=True)
class SrtpKey:
    """A suite with master key and salt, and the tag of its line."""

    tag: int
    suite: str
    key: bytes

    def __repr__(self) -> str:
        return f"SrtpKey({self.tag}, {self.suite})"

    def line(self) -> str:
        """Return its line of SDP."""
        return f"a=crypto:{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"


@dataclass(frozen=True)
class Terms:
    """What the other side has said of its stream."""

    address: str
    port: int
    law: Law
    event_type: int | None  # of telephone-event (RFC 4733)
    key: SrtpKey
    profile: str
    direction: Direction
    has_rtcp_mux: bool
    streams: tuple[str, ...]  # all m= lines, as an answer has one for each
    chosen: int


def read_untrusted(body: bytes, offered: tuple[SrtpKey, ...] = ()) -> Terms:
    """Return the terms of an offer, or of the answer to the keys that we offered. Raises SipError, with 488."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise SipError("a session description that is no UTF-8", 488) from None
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > _LINES or not lines[0].startswith("v=0"):
        raise SipError("a session description that is none", 488)
    starts = [at for at, line in enumerate(lines) if line.startswith("m=")]
    if not 1 <= len(starts) <= _STREAMS:
        raise SipError("a session description with no stream, or too many", 488)
    session = lines[: starts[0]]
    why = "this host takes one stream of audio"
    for index, (first, last) in enumerate(zip(starts, [*starts[1:], len(lines)], strict=True)):
        found = _MEDIA.fullmatch(lines[first])
        if found is None:
            raise SipError("a session description with a stream that is none", 488)
        if found[1] != "audio" or int(found[2]) == 0:
            continue
        part = lines[first + 1 : last]
        if found[3] not in _PROFILES:
            why = NO_SRTP
            continue
        key = _key_untrusted(part, offered)
        law, event_type = _formats_untrusted(found[4].split(), part)
        if key is None or law is None:
            why = NO_SRTP if key is None else NO_LAW
            continue
        address = _address_untrusted(part, session)
        port = int(found[2])
        if port > 65535:
            raise SipError("a port that is none", 488)
        direction = next((line[2:] for line in (*part, *session) if line[2:] in _DIRECTIONS), "sendrecv")
        streams = tuple(lines[at] for at in starts)
        return Terms(
            address, port, law, event_type, key, found[3], direction, "a=rtcp-mux" in part, streams, index  # type: ignore[arg-type]
        )  # fmt: skip
    raise SipError(why, 488)


def _key_untrusted(part: list[str], offered: tuple[SrtpKey, ...]) -> SrtpKey | None:
    """Return the first key that we take: of an answer one whose tag and suite we offered."""
    for line in part:
        found = _CRYPTO.fullmatch(line[2:].rstrip()) if line.startswith("a=crypto:") else None
        if found is None or found[2] not in SUITES:  # neither one with MKI or parameters
            continue
        if offered and not any(one.tag == int(found[1]) and one.suite == found[2] for one in offered):
            continue
        try:
            key = base64.b64decode(found[3], validate=True)
        except binascii.Error:
            continue
        if len(key) == SUITES[found[2]]:
            return SrtpKey(int(found[1]), found[2], key)
    return None


def _formats_untrusted(formats: list[str], part: list[str]) -> tuple[Law | None, int | None]:
    law: Law | None = None
    event_type = None
    names = dict(re.findall(r"^a=rtpmap:([0-9]{1,3}) ([A-Za-z0-9./-]{1,40})", "\n".join(part), re.MULTILINE))
    for text in formats:
        if not text.isdigit() or int(text) > 127:
            continue
        number = int(text)
        if number in LAWS and law is None:
            law = LAWS[number]
        elif names.get(text, "").lower() == "telephone-event/8000" and number >= 96:
            event_type = number if event_type is None else event_type
    return law, event_type


def _address_untrusted(part: list[str], session: list[str]) -> str:
    line = next((line for line in (*part, *session) if line.startswith("c=")), "")
    found = re.fullmatch(r"c=IN IP[46] ([0-9A-Fa-f:.]{2,45})", line.rstrip())
    try:
        return str(ipaddress.ip_address(found[1] if found else ""))
    except ValueError:
        raise SipError("a session description without an address that is one of IP", 488) from None


def _write(address: str, number: int, version: int, streams: list[str]) -> bytes:
    kind = "IP6" if ":" in address else "IP4"
    head = ["v=0", f"o=- {number} {version} IN {kind} {address}", "s=-", f"c=IN {kind} {address}", "t=0 0"]
    return ("\r\n".join([*head, *streams]) + "\r\n").encode()


def write_offer(address: str, port: int, number: int, version: int, keys: tuple[SrtpKey, ...]) -> bytes:
    """Return an offer of both laws, and events, under any of these keys."""
    stream = [f"m=audio {port} RTP/SAVP {PCMU.payload_type} {PCMA.payload_type} 101", *(key.line() for key in keys)]
    stream += ["a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15"]
    return _write(address, number, version, [*stream, "a=rtcp-mux", "a=ptime:20", "a=sendrecv"])


def write_answer(address: str, port: int, number: int, version: int, terms: Terms, key: SrtpKey) -> bytes:
    """Return the answer to an offer: the stream that was chosen, and all others refused."""
    lines: list[str] = []
    for index, line in enumerate(terms.streams):
        kind, _, profile, *formats = line.split(" ")
        if index != terms.chosen:
            lines.append(f"{kind} 0 {profile} {formats[0]}")
            continue
        numbers = [str(terms.law.payload_type), *([] if terms.event_type is None else [str(terms.event_type)])]
        lines += [f"m=audio {port} {terms.profile} {' '.join(numbers)}", key.line()]
        lines.append(f"a=rtpmap:{terms.law.payload_type} {terms.law.name}/8000")
        if terms.event_type is not None:
            lines += [f"a=rtpmap:{terms.event_type} telephone-event/8000", f"a=fmtp:{terms.event_type} 0-15"]
        lines += ["a=rtcp-mux"] if terms.has_rtcp_mux else []
        lines += ["a=ptime:20", f"a={_ANSWERS[terms.direction]}"]
    return _write(address, number, version, lines)
