"""Vectors of enrolment with a join code: what a client shows, and which answers it takes."""

from __future__ import annotations

from typing import Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from vectors.cases_keys import BOOT_NONCE, INSTALL
from vectors.writer import VectorFile

from tlsrt.channels.session.certificate_renewal import RENEWED_DOMAIN, renew_statement, renewed_statement
from tlsrt.channels.session.enrolment import (
    ANSWER_MAX,
    EnrolmentAnswer,
    JoinCode,
    answer_mac,
    encode_answer,
    encode_message,
    pin_of,
    request_mac,
)
from tlsrt.config import key_schedule

BOOT = key_schedule.boot_id(BOOT_NONCE)
CA, OTHER_CA = b"the CA certificate, DER", b"another certificate"
REQUEST = b"a certificate signing request, DER"
CODE = JoinCode(bytes(range(5)), bytes(range(16)), pin_of(CA))
ANSWER = EnrolmentAnswer(INSTALL, "phone", b"a certificate, DER", b"i" * 32, 1, CA)


def answers() -> VectorFile:
    """A code and an answer, as the client takes it that has sent `request`."""
    good = encode_answer(ANSWER)
    file = VectorFile(
        "enrolment",
        "`code` as people copy it, `request` the client's signing request, `request_mac` what it shows; `said`, `mac` "
        "its answer as the client takes it.",
        code=CODE.text(), request=REQUEST.hex(), said=good.hex(), mac=mac(good).hex(),
    )  # fmt: skip
    told: dict[str, Any] = {
        "id": CODE.code_id.hex(), "request_mac": request_mac(CODE.code_id, CODE.secret, REQUEST).hex(),
        "name": "phone", "certificate": ANSWER.certificate.hex(), "issuer": ANSWER.issuer.hex(), "issuer_version": 1,
        "ca": CA.hex(),
    }  # fmt: skip
    file.passes("an answer", "its MAC is that of the authority", told)
    file.passes("a code in capitals", "either case, with spaces around it", told, code=f"  {CODE.text().upper()} ")
    file.fails("a changed answer", "every byte is in the MAC", "enrol_mac", said=flipped(good).hex())
    file.fails("a changed MAC", "all of its 32 bytes count", "enrol_mac", mac=flipped(mac(good)).hex())
    file.fails("to another request", "the request is in the MAC", "enrol_mac", request=(REQUEST + b"x").hex())
    file.fails("the client's own MAC", "each side has a key of its own", "enrol_mac",
               mac=request_mac(CODE.code_id, CODE.secret, REQUEST).hex())  # fmt: skip
    other = JoinCode(CODE.code_id, bytes(16), CODE.pin)
    file.fails("by another secret", "the secret is the key", "enrol_mac", code=other.text())
    moved = JoinCode(bytes(5), CODE.secret, CODE.pin)
    file.fails("of another id", "the id is the salt", "enrol_mac", code=moved.text())
    wrong_ca = encode_answer(EnrolmentAnswer(INSTALL, "phone", ANSWER.certificate, ANSWER.issuer, 1, OTHER_CA))
    file.fails("another CA", "the code pins it", "enrol_pin", said=wrong_ca.hex(), mac=mac(wrong_ca).hex())
    items = msgpack.unpackb(good)
    for name, why, changes in (
        ("version 2", "this is version 1", {0: 2}),
        ("an install id of 15 bytes", "it has 16", {1: bytes(15)}),
        ("no name", "a name has 1 to 31 characters", {2: ""}),
        ("a long name", "a name has 1 to 31 characters", {2: "a" * 32}),
        ("no certificate", "1 to 8192 bytes", {3: b""}),
        ("a large certificate", "1 to 8192 bytes", {3: bytes(8193)}),
        ("an issuer key of 31 bytes", "it has 32", {4: bytes(31)}),
        ("issuer version 0", "versions start at 1", {5: 0}),
        ("a field more", "exactly seven", {7: 0}),
        ("a str for a bin", "they are never exchanged", {4: "i" * 32}),
    ):
        values = [changes.get(place, value) for place, value in enumerate([*items, None])][: 8 if 7 in changes else 7]
        data = msgpack.packb(values)
        file.fails(name, why, "enrol_answer", said=data.hex(), mac=mac(data).hex())
    for name, why, data in (
        ("no msgpack", "an array", b"\xc1"),
        ("a map", "an array", msgpack.packb({})),
        ("a number", "an array", b"\x07"),
    ):
        file.fails(name, why, "enrol_message", said=data.hex(), mac=mac(data).hex())
    large = msgpack.packb([*items[:2], "a" * ANSWER_MAX])
    file.fails("too large", f"at most {ANSWER_MAX} bytes", "enrol_size", said=large.hex(), mac=mac(large).hex())
    return file


def askings() -> VectorFile:
    """The one message of a client."""
    shown = request_mac(CODE.code_id, CODE.secret, REQUEST)
    good: list[Any] = ["enrol", CODE.code_id, REQUEST, shown]
    file = VectorFile(
        "enrolling", "The one message that a client without a certificate may send, without its length.",
        message=encode_message("enrol", CODE.code_id, REQUEST, shown).hex(),
    )  # fmt: skip
    file.passes("a request", "id, signing request, MAC",
                {"id": CODE.code_id.hex(), "request": REQUEST.hex(), "mac": shown.hex()})  # fmt: skip
    for name, why, reason, items in (
        ("an id of 4 bytes", "it has 5", "enrol_fields", [*good[:1], bytes(4), *good[2:]]),
        ("no request", "1 to 2048 bytes", "enrol_fields", [*good[:2], b"", good[3]]),
        ("a large request", "1 to 2048 bytes", "enrol_fields", [*good[:2], bytes(2049), good[3]]),
        ("a MAC of 16 bytes", "it has 32", "enrol_fields", [*good[:3], bytes(16)]),
        ("a field more", "exactly four", "enrol_message", [*good, b""]),
        ("another name", "nothing else is known", "enrol_message", ["open", *good[1:]]),
        ("the name as bin", "a str", "enrol_message", [b"enrol", *good[1:]]),
        ("a str for a bin", "they are never exchanged", "enrol_message", [*good[:2], "request", good[3]]),
        ("an empty array", "four fields", "enrol_message", []),
        ("too large", "at most 2176 bytes", "enrol_size", [*good[:2], bytes(3000), good[3]]),
    ):
        file.fails(name, why, reason, message=msgpack.packb(items).hex())
    return file


def renewals() -> VectorFile:
    """What a client signs for another certificate, and which answers it takes."""
    issuer = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = issuer.public_key().public_bytes_raw()
    session, certificate = bytes([0xAA]) * 16, ANSWER.certificate
    statement = renew_statement(INSTALL, BOOT, session, REQUEST)
    said = renewed_statement(statement, certificate)
    file = VectorFile(
        "renewal",
        "What a client signs (`statement`) for `request` in its session; `certificate` and `signature` are the answer.",
        install=INSTALL.hex(), boot=BOOT.hex(), session=session.hex(), request=REQUEST.hex(), issuer=public.hex(),
        certificate=certificate.hex(), signature=issuer.sign(said).hex(),
    )  # fmt: skip
    file.passes("an answer", "signed by the issuer for this statement", {"statement": statement.hex()})
    for name, why, changes in (
        ("another certificate", "it is signed", {"certificate": flipped(certificate)}),
        ("a changed signature", "64 bytes", {"signature": flipped(issuer.sign(said))}),
        ("the answer to another request", "the statement is signed", {"request": flipped(REQUEST)}),
        ("of another session", "the statement names it", {"session": bytes(16)}),
        ("of another boot", "the statement names it", {"boot": bytes(16)}),
        ("of another install", "the statement names it", {"install": bytes(16)}),
        ("of another issuer", "the one that the client pins", {"issuer": flipped(public)}),
        ("signed without the domain", "it comes first", {"signature": issuer.sign(said[len(RENEWED_DOMAIN) :])}),
        ("the bare certificate signed", "its statement belongs to it", {"signature": issuer.sign(certificate)}),
    ):
        file.fails(name, why, "renewal_signature", **{key: value.hex() for key, value in changes.items()})
    return file


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def mac(answer: bytes) -> bytes:
    return answer_mac(CODE.code_id, CODE.secret, REQUEST, answer)
