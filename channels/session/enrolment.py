"""Enrolment with a join code: `tlsrt-enrol/1`, for clients without a certificate. Pure.

A join code is `ID-SECRET-PIN`. The id and a signing request travel, and what proves the secret: the secret itself never
does. The pin says which CA the host's certificate must be issued by. So a party between the two, a captured Primary
too, can neither be enrolled in the client's place nor give the client another certificate, issuer or CA: both
directions have a MAC under a key of their own, derived from the secret, over all that was said.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from tlsrt.config import key_schedule
from tlsrt.config.bundle import MAX_REQUEST_BYTES
from tlsrt.config.issuer_chain import VERSION_MAX
from tlsrt.errors import InvalidArgument, PeerError

PROTOCOL = "tlsrt-enrol/1"  # the ALPN name
ID_BYTES, SECRET_BYTES, PIN_BYTES, MAC_BYTES = 5, 16, 20, 32
CERTIFICATE_MAX = 8192
AUTHORITIES_MAX = 8
ANSWER_MAX = 2 * CERTIFICATE_MAX + 512
ASKING_MAX = MAX_REQUEST_BYTES + 128  # all that a client may send
ANSWERING_MAX = AUTHORITIES_MAX * (CERTIFICATE_MAX + 8)
NAME_MAX = 31
REFUSED = "rejected"  # the one word that a client hears
_ANSWER_VERSION = 1
_CODE = re.compile(r"([a-z2-7]{8})-([a-z2-7]{26})-([a-z2-7]{32})")


@dataclass(frozen=True, slots=True)
class JoinCode:
    """What an operator hands to the owner of a client, once."""

    code_id: bytes
    secret: bytes = field(repr=False)
    pin: bytes  # the first 20 bytes of SHA-256 of the CA certificate, DER

    def text(self) -> str:
        """Return the code as people copy it."""
        parts = (self.code_id, self.secret, self.pin)
        return "-".join(base64.b32encode(part).decode().rstrip("=").lower() for part in parts)


def parse_code(text: str) -> JoinCode:
    """Return the code in a text, in either case and with spaces around it. Raise InvalidArgument for anything else."""
    match = _CODE.fullmatch(text.strip().lower())
    if match is not None:
        code = JoinCode(*(base64.b32decode(part.upper() + "=" * (-len(part) % 8)) for part in match.groups()))
        if code.text() == match[0]:  # bits that do not count are zero
            return code
    raise InvalidArgument("this is no join code: copy all of what `tlsrt-supervisor client add` has printed")


def pin_of(certificate: bytes) -> bytes:
    """Return the pin of a CA certificate, DER."""
    return hashlib.sha256(certificate).digest()[:PIN_BYTES]


def pinned_authority(code: JoinCode, certificates: Sequence[bytes]) -> bytes:
    """Return the certificate that the code pins; raise PeerError if it is not among them."""
    for certificate in certificates:
        if hmac.compare_digest(pin_of(certificate), code.pin):
            return certificate
    raise PeerError("enrol_pin")


# What proves the secret


def request_mac(code_id: bytes, secret: bytes, request: bytes) -> bytes:
    """Return what the client shows: over the id and its signing request, DER."""
    return hmac.digest(key_schedule.enrol_key(code_id, secret, "c"), code_id + request, "sha256")


def answer_mac(code_id: bytes, secret: bytes, request: bytes, answer: bytes) -> bytes:
    """Return what the authority shows: over the request that it answers and its answer."""
    said = len(request).to_bytes(4, "big") + request + answer
    return hmac.digest(key_schedule.enrol_key(code_id, secret, "s"), said, "sha256")


@dataclass(frozen=True, slots=True)
class EnrolmentAnswer:
    """What a bundle is made of. Certificates are DER, `issuer` is the Ed25519 key of tokens and grants."""

    install: bytes
    name: str
    certificate: bytes
    issuer: bytes
    issuer_version: int
    ca: bytes


def encode_answer(answer: EnrolmentAnswer) -> bytes:
    """Return the bytes of an answer."""
    packed: bytes = msgpack.packb(
        [
            _ANSWER_VERSION, answer.install, answer.name, answer.certificate, answer.issuer, answer.issuer_version,
            answer.ca,
        ]
    )  # fmt: skip
    return packed


def parse_answer_untrusted(data: bytes) -> EnrolmentAnswer:
    """Return an answer; raise PeerError for anything that `encode_answer` does not make."""
    items = _array_untrusted(data, ANSWER_MAX)
    if list(map(type, items)) != [int, bytes, str, bytes, bytes, int, bytes] or items[0] != _ANSWER_VERSION:
        raise PeerError("enrol_answer")
    answer = EnrolmentAnswer(*items[1:])
    fits = len(answer.install) == 16 and len(answer.issuer) == 32 and 0 < answer.issuer_version <= VERSION_MAX
    if not fits or not 0 < len(answer.name) <= NAME_MAX or not _are_certificates([answer.certificate, answer.ca]):
        raise PeerError("enrol_answer")
    return answer


def check_answer_untrusted(code: JoinCode, request: bytes, answer: bytes, mac: bytes) -> EnrolmentAnswer:
    """Return the answer to our request, which the authority alone can have made. Raise PeerError for any other."""
    if not hmac.compare_digest(answer_mac(code.code_id, code.secret, request, answer), mac):
        raise PeerError("enrol_mac")
    found = parse_answer_untrusted(answer)
    pinned_authority(code, [found.ca])
    return found


# Messages


def encode_message(name: str, *fields: object) -> bytes:
    """Return one message, without its length: `authorities`, `enrol`, `enrolled` or `refused`."""
    packed: bytes = msgpack.packb([name, *fields])
    return packed


def parse_asking_untrusted(payload: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (id, request, MAC) of the one message of a client. Raise PeerError for any other bytes."""
    items = _array_untrusted(payload, ASKING_MAX)
    if list(map(type, items)) != [str, bytes, bytes, bytes] or items[0] != "enrol":
        raise PeerError("enrol_message")
    _, code_id, request, mac = items
    if len(code_id) != ID_BYTES or not 0 < len(request) <= MAX_REQUEST_BYTES or len(mac) != MAC_BYTES:
        raise PeerError("enrol_fields")
    return code_id, request, mac


def parse_answering_untrusted(payload: bytes) -> tuple[str, list[Any]]:
    """Return name and fields of a message of the server; raise PeerError for any other bytes."""
    items = _array_untrusted(payload, ANSWERING_MAX)
    if not items or type(items[0]) is not str:
        raise PeerError("enrol_message")
    name, *fields = items
    kinds = list(map(type, fields))
    if name == "authorities" and kinds == [list] and len(fields[0]) <= AUTHORITIES_MAX:
        is_good = all(type(each) is bytes for each in fields[0]) and _are_certificates(fields[0])
    elif name == "enrolled" and kinds == [bytes, bytes]:
        is_good = 0 < len(fields[0]) <= ANSWER_MAX and len(fields[1]) == MAC_BYTES
    else:
        is_good = name == "refused" and kinds == [str] and 0 < len(fields[0]) <= 32
    if not is_good:
        raise PeerError("enrol_fields")
    return name, fields


def _are_certificates(values: Sequence[bytes]) -> bool:
    return all(0 < len(value) <= CERTIFICATE_MAX for value in values)


def _array_untrusted(data: bytes, limit: int) -> list[Any]:
    if len(data) > limit:
        raise PeerError("enrol_size")
    try:
        items = msgpack.unpackb(data, raw=False, max_array_len=AUTHORITIES_MAX, max_map_len=0, max_ext_len=0)
    except Exception as error:  # msgpack raises half a dozen classes; all of them mean the same here
        raise PeerError("enrol_message") from error
    if type(items) is not list:
        raise PeerError("enrol_message")
    return items
