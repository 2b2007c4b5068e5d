"""Vectors of the opening of an external session: what the client signs, and the grant that answers it."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable
from typing import Any

import msgpack
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID
from fakes.memory_host import MemoryHost
from vectors.cases_keys import BOOT_NONCE, INSTALL
from vectors.cases_succession import ISSUERS, pin, statement
from vectors.runner import named
from vectors.writer import Stored, VectorFile

from tlsrt.channels.session.grant import (
    GRANT_DOMAIN,
    GrantContent,
    Open,
    Right,
    encode_grant,
    encode_open,
    open_digest,
    sign_open,
)
from tlsrt.config import key_schedule
from tlsrt.config.hpke import SUITE
from tlsrt.config.issuer_chain import encode_chain

Key = ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey
CHALLENGE = bytes(range(0x40, 0x60))
EPHEMERAL = X25519PrivateKey.from_private_bytes(bytes(range(0x60, 0x80)))
PUBLIC = EPHEMERAL.public_key().public_bytes_raw()
_GRANT = (
    "now", "install", "boot", "epoch", "grace_ms", "session", "subject", "token", "token_expires", "session_ends",
    "gate", "proof_key",
)  # fmt: skip


def client_key(stored: Stored) -> ec.EllipticCurvePrivateKey:
    """The client's P-256 key of all vectors."""
    data = stored.value("client key", lambda: _der(ec.generate_private_key(ec.SECP256R1())))
    key = load_der_private_key(data, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _der(key: Key) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _fresh(make: Callable[[], Key]) -> bytes:
    return _der(make())


def certificate(stored: Stored, name: str, key: Key) -> bytes:
    """Return a certificate for a key, as tlsrt issues them to client/admin; signed by itself, for the vectors only."""

    def make() -> bytes:
        names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tlsrt client admin")])
        start = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
        uri = x509.UniformResourceIdentifier(f"spiffe://tlsrt.{INSTALL.hex()}/client/admin")
        builder = x509.CertificateBuilder(names, names, key.public_key(), 1, start, start.replace(year=2035))
        builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        algorithm = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(key, algorithm).public_bytes(Encoding.DER)

    return stored.value(f"certificate {name}", make, _der(key))


def edwards_public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def signed(stored: Stored, name: str, key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return stored.value(f"signature {name}", lambda: sign_open(key, data), _der(key), data)


def wish(client_certificate: bytes, **changes: Any) -> Open:
    fields: dict[str, Any] = {
        "install": INSTALL, "boot": key_schedule.boot_id(BOOT_NONCE), "challenge": CHALLENGE,
        "certificate": client_certificate, "ephemeral_public": PUBLIC, **changes,
    }  # fmt: skip
    return Open(**fields)


def opens(stored: Stored) -> VectorFile:
    """What a client may send to get a session."""
    key = client_key(stored)
    certified = certificate(stored, "P-256", key)
    good = encode_open(wish(certified))
    signature = signed(stored, "open", key, good)
    file = VectorFile(
        "open", "An open and its signature, as far as bytes tell; the certificate's chain is not part of it.",
        open=good.hex(), signature=signature.hex(),
    )  # fmt: skip

    def told(data: bytes, asked: Open) -> dict[str, Any]:
        names = ("install", "boot", "challenge", "certificate", "ephemeral_public")
        return {**{name: getattr(asked, name).hex() for name in names}, "digest": open_digest(data).hex()}

    file.passes("ECDSA P-256", "signature in DER over 'tlsrt/open/v1\\0' | open", told(good, wish(certified)))
    edwards = Ed25519PrivateKey.from_private_bytes(bytes(range(0x80, 0xA0)))
    other = wish(certificate(stored, "Ed25519", edwards))
    file.passes(
        "Ed25519", "signature of 64 bytes", told(encode_open(other), other), open=encode_open(other).hex(),
        signature=sign_open(edwards, encode_open(other)).hex(),
    )  # fmt: skip
    fields = list(msgpack.unpackb(good))
    bad: list[tuple[str, str, Any]] = [
        ("version 2", "only 1 is spoken", [2, *fields[1:]]),
        ("version true", "a bool is no integer", [True, *fields[1:]]),
        ("five fields", "six", fields[:-1]),
        ("seven fields", "six", [*fields, b""]),
        ("an install id of 15 bytes", "16", [1, bytes(15), *fields[2:]]),
        ("an install id as text", "bin", [1, "i" * 16, *fields[2:]]),
        ("a challenge of 31 bytes", "32", [*fields[:3], bytes(31), *fields[4:]]),
        ("no certificate", "1 to 8192 bytes", [*fields[:4], b"", fields[5]]),
        ("a short ephemeral key", "32 bytes", [*fields[:5], bytes(31)]),
        ("a map", "no maps", {"version": 1}),
    ]
    for name, why, value in bad:
        file.fails(name, why, "bad_open", open=msgpack.packb(value).hex())
    file.fails("one byte more", "nothing may follow", "bad_open", open=(good + b"\0").hex())
    file.fails("8449 bytes", "at most 8448", "bad_open", open={"repeat": "00", "times": 8449})
    file.fails("no certificate but bytes", "DER is wanted", "open_certificate",
               open=encode_open(wish(b"no certificate")).hex())  # fmt: skip
    file.fails("a changed signature", "one bit", "open_signature",
               signature=(signature[:-1] + bytes((signature[-1] ^ 1,))).hex())  # fmt: skip
    file.fails("no signature", "empty", "open_signature", signature="")
    file.fails("a signature of 81 bytes", "at most 80", "open_signature", signature=bytes(81).hex())
    file.fails("another challenge", "it is part of what is signed", "open_signature",
               open=encode_open(wish(certified, challenge=bytes(32))).hex())  # fmt: skip
    file.fails("another ephemeral key", "nobody can put in their own", "open_signature",
               open=encode_open(wish(certified, ephemeral_public=bytes(32))).hex())  # fmt: skip
    bare = stored.value("signature without domain", lambda: key.sign(good, ec.ECDSA(hashes.SHA256())), _der(key), good)
    file.fails("signed without the domain", "the domain string comes first", "open_signature", signature=bare.hex())
    makers: dict[str, Callable[[], Key]] = {
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
    }
    for name, make in makers.items():
        other_key = load_der_private_key(stored.value(f"key {name}", functools.partial(_fresh, make)), None)
        assert isinstance(other_key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey))
        data = encode_open(wish(certificate(stored, name, other_key)))
        file.fails(f"a certificate with {name}", "ECDSA P-256 or Ed25519 only", "open_key_type", open=data.hex())
    return file


def content() -> GrantContent:
    """The grant of the vectors: two recipients."""
    world = MemoryHost(b"vectors")
    session = world.session("client/admin")
    key = key_schedule.request_key(world.mailbox("secondary/store"), session)
    return GrantContent(
        now=world.now, install=world.install, boot=world.boot, epoch=world.epoch, grace_ms=5000, session=session,
        subject="client/admin", token=world.token("client/admin"), token_expires=world.now + 300_000,
        session_ends=world.now + 8 * 3_600_000, gate=1,
        proof_key=key_schedule.proof_key(world.gate_root(world.epoch), session),
        rights=(Right("secondary/store", 2, key, ("get", "put")), Right("third/console", 3, bytes(32), ("*",))),
    )  # fmt: skip


def seal(stored: Stored, name: str, plaintext: bytes, info: bytes, public: bytes = PUBLIC) -> bytes:
    """Return an HPKE ciphertext, made once."""
    key = X25519PublicKey.from_public_bytes(public)
    return stored.value(f"grant {name}", lambda: SUITE.encrypt(plaintext, key, info=info), plaintext, info, public)


def grants(stored: Stored) -> VectorFile:
    """What a client may take for a grant."""
    world = MemoryHost(b"vectors")
    digest = open_digest(encode_open(wish(certificate(stored, "P-256", client_key(stored)))))
    info = GRANT_DOMAIN + digest

    def sign(ciphertext: bytes, number: int = 5) -> str:
        return world.issuer.sign(info + number.to_bytes(8, "big") + ciphertext).hex()

    granted = content()
    plaintext = encode_grant(granted)
    good = seal(stored, "good", plaintext, info)
    rights = [named(right, ("target", "mailbox", "key", "methods")) for right in granted.rights]
    told = {**named(granted, _GRANT), "rights": rights}
    file = VectorFile(
        "grant", "A grant as the client with this ephemeral key and this open takes it.",
        ephemeral_private=EPHEMERAL.private_bytes_raw().hex(), digest=digest.hex(),
        issuer=world.issuer.public_key().public_bytes_raw().hex(), last_number=4, number=5, ciphertext=good.hex(),
        signature=sign(good),
    )  # fmt: skip
    file.passes("a grant", "signature, number, HPKE, content", told)
    file.passes("the first", "no number was seen before", told, last_number=0)
    file.passes("a number far above", "numbers rise, with gaps", told, number=1 << 40, signature=sign(good, 1 << 40))
    changed = good[:-1] + bytes((good[-1] ^ 1,))
    file.fails("a changed ciphertext", "the signature comes first", "grant_signature", ciphertext=changed.hex())
    file.fails("a changed number", "it is signed", "grant_signature", number=6)
    file.fails("for another open", "the digest is signed", "grant_signature", digest=bytes(32).hex())
    file.fails("by another issuer", "only the key in the bundle", "grant_signature",
               issuer=edwards_public(bytes(32)).hex())  # fmt: skip
    file.fails("no signature", "64 zero bytes", "grant_signature", signature=bytes(64).hex())
    file.fails("the same again", "its number is not above the last", "grant_number", last_number=5)
    file.fails("an earlier one", "its number is below the last", "grant_number", last_number=6)
    file.fails("number 0", "numbers start at 1", "bad_grant", number=0, signature=sign(good, 0))
    file.fails("45057 bytes", "at most 45056", "bad_grant", ciphertext={"repeat": "00", "times": 45057})
    file.fails("signed, but changed", "HPKE fails", "grant_sealing", ciphertext=changed.hex(), signature=sign(changed))
    file.fails("signed, but empty", "no encapsulated key", "grant_sealing", ciphertext="", signature=sign(b""))
    elsewhere = seal(stored, "elsewhere", plaintext, info, bytes([9]) + bytes(31))
    file.fails("for another key", "HPKE fails", "grant_sealing", ciphertext=elsewhere.hex(), signature=sign(elsewhere))
    plain_info = seal(stored, "without info", plaintext, b"")
    file.fails(
        "sealed without the info",
        "HPKE fails",
        "grant_sealing",
        ciphertext=plain_info.hex(),
        signature=sign(plain_info),
    )
    fields = list(msgpack.unpackb(plaintext))
    right = fields[13][0]
    bad: list[tuple[str, str, Any]] = [
        ("version 2", "only 1 is spoken", [2, *fields[1:]]),
        ("13 fields", "14", fields[:-1]),
        ("a map of rights", "no maps", [*fields[:13], {}]),
        ("epoch true", "a bool is no integer", [*fields[:4], True, *fields[5:]]),
        ("a negative now", "unsigned", [1, -1, *fields[2:]]),
        ("a proof key of 31 bytes", "32", [*fields[:12], bytes(31), fields[13]]),
        ("no subject", "1 to 80 characters", [*fields[:7], "", *fields[8:]]),
        ("no token", "1 to 16384 bytes", [*fields[:8], b"", *fields[9:]]),
        ("a target twice", "one right a target", [*fields[:13], [right, right]]),
        ("a short request key", "32 bytes", [*fields[:13], [[right[0], right[1], bytes(31), right[3]]]]),
        ("a method as bin", "str", [*fields[:13], [[*right[:3], [b"get"]]]]),
    ]
    for name, why, value in bad:
        sealed = seal(stored, name, msgpack.packb(value), info)
        file.fails(name, why, "bad_grant", ciphertext=sealed.hex(), signature=sign(sealed))
    return file


def openings(stored: Stored) -> VectorFile:
    """A connection's messages in order, as a client takes them."""
    edwards = Ed25519PrivateKey.from_private_bytes(bytes(range(0x80, 0xA0)))
    world = MemoryHost(b"vectors")
    asked = wish(certificate(stored, "Ed25519", edwards), install=world.install, boot=world.boot)
    data = encode_open(asked)
    info = GRANT_DOMAIN + open_digest(data)

    def granted(number: int, name: str, issuer: Ed25519PrivateKey = world.issuer, **changes: Any) -> list[Any]:
        sealed = seal(stored, f"opening {name}", encode_grant(dataclasses.replace(content(), **changes)), info)
        signature = issuer.sign(info + number.to_bytes(8, "big") + sealed)
        return ["granted", number, sealed.hex(), signature.hex()]

    challenge = ["challenge", world.install.hex(), world.boot.hex(), CHALLENGE.hex()]
    first, second = granted(5, "first"), granted(6, "second", epoch=8)
    file = VectorFile(
        "opening",
        "What a client does with the messages of one connection; `steps` before the last one pass. Its key is Ed25519.",
        install=world.install.hex(),
        issuer=world.issuer.public_key().public_bytes_raw().hex(),
        certificate=asked.certificate.hex(),
        private_key=bytes(range(0x80, 0xA0)).hex(),
        ephemeral_private=EPHEMERAL.private_bytes_raw().hex(),
    )
    answer = {"open": data.hex(), "signature": sign_open(edwards, data).hex()}
    told = {"subject": "client/admin"}
    file.passes("a challenge", "answered by an open and its signature", answer, steps=[challenge])
    file.passes("the first grant", "it answers our open", told, steps=[challenge, first])
    file.passes("a push", "a later grant for the same open", told, steps=[challenge, first, second])
    other = bytes(16).hex()
    elsewhere = ["challenge", other, *challenge[2:]]
    rebooted = granted(5, "other boot", boot=bytes(16))
    session = granted(6, "other session", session=bytes(16))
    subject = granted(6, "other subject", subject="client/other")
    for name, why, reason, steps in (
        ("a challenge of another install", "not the host in the bundle", "other_install", [elsewhere]),
        ("a second challenge", "one open a connection", "second_challenge", [challenge, challenge]),
        ("a grant before the open", "nothing was asked", "grant_before_open", [first]),
        ("the first grant again", "its number is not above the last", "grant_number", [challenge, first, first]),
        ("the first grant after the second", "numbers rise", "grant_number", [challenge, second, first]),
        ("a grant of another boot", "the challenge named this one", "grant_elsewhere", [challenge, rebooted]),
        (
            "a grant of another install",
            "genuine, but of the wrong host",
            "grant_elsewhere",
            [challenge, granted(5, "other install", install=bytes(16))],
        ),
        ("a push of another session", "a session sits on one connection", "grant_session", [challenge, first, session]),
        ("a push of another subject", "nobody becomes somebody else", "grant_session", [challenge, first, subject]),
    ):
        file.fails(name, why, reason, steps=steps)
    _successions_in(file, world, challenge, granted)
    return file


def _successions_in(
    file: VectorFile, world: MemoryHost, challenge: list[Any], granted: Callable[..., list[Any]]
) -> None:
    """Add what becomes of grants when another issuer key follows."""
    issuers = {**ISSUERS, 1: world.issuer}
    one = statement(1, issuers=issuers, install=world.install)
    two = statement(2, issuers=issuers, install=world.install)
    forged = statement(1, signer=issuers[9], new=pin(2), install=world.install)
    said = {name: ["succession", encode_chain(chain).hex()] for name, chain in (
        ("one", [one]), ("both", [one, two]), ("second", [two]), ("forged", [forged]),
    )}  # fmt: skip
    first = granted(5, "first")
    renewed = granted(6, "second", issuers[2], epoch=8)
    third = granted(7, "third", issuers[3], epoch=9)
    told = {"subject": "client/admin"}
    file.passes("a rotation under way", "the old key names the new one, then the new one signs", told,
                steps=[challenge, first, said["one"], renewed])  # fmt: skip
    file.passes("rotations that were missed", "the chain leads to the key that signs", told,
                steps=[challenge, said["both"], third])  # fmt: skip
    file.passes("a chain", "it changes the pin", {"followed": True, "issuer_version": 3},
                steps=[challenge, said["both"]])  # fmt: skip
    file.passes("an old chain again", "it changes nothing", {"followed": False, "issuer_version": 3},
                steps=[challenge, said["both"], said["one"]])  # fmt: skip
    file.passes("a chain that does not reach the pin", "it changes nothing", {"followed": False, "issuer_version": 1},
                steps=[challenge, said["second"]])  # fmt: skip
    for name, why, reason, steps in (
        ("a chain before the challenge", "nobody is there yet", "succession_before_challenge", [said["one"]]),
        ("a forged statement", "not signed by the pinned key", "succession_signature", [challenge, said["forged"]]),
        ("a chain that is withheld", "the bundle's key only", "grant_signature", [challenge, first, renewed]),
        ("a chain with a gap", "the new key is not known", "grant_signature", [challenge, said["second"], third]),
        ("a grant by the key before", "it has been followed", "grant_signature", [challenge, said["one"], first]),
        ("back by an old chain", "versions rise", "grant_signature",
         [challenge, said["both"], said["one"], renewed]),
    ):  # fmt: skip
        file.fails(name, why, reason, steps=steps)
