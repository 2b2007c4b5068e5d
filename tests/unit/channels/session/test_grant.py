"""The external session grant: round trips, and every way to cheat."""

from __future__ import annotations

import dataclasses
import datetime
from typing import NamedTuple

import msgpack
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tlsrt.channels.session import grant
from tlsrt.channels.session.grant import GrantContent, Open, Right
from tlsrt.errors import MisuseError, PeerError

CONTENT = GrantContent(
    now=1_000, install=b"i" * 16, boot=b"b" * 16, epoch=7, grace_ms=5_000, session=b"s" * 16, subject="client/admin",
    token=b"t" * 300, token_expires=301_000, session_ends=28_801_000, gate=3, proof_key=b"p" * 32,
    rights=(
        Right("secondary/store", 4, b"1" * 32, ("get", "put")),
        Right("primary/kernel", 5, b"2" * 32, ("*",)),
    ),
)  # fmt: skip


def certificate_for(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "someone")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + datetime.timedelta(days=9999))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.DER)


class Party(NamedTuple):
    """One client with its open, and the issuer."""

    key: ec.EllipticCurvePrivateKey
    wish: Open
    data: bytes
    signature: bytes
    ephemeral: X25519PrivateKey
    issuer: ed25519.Ed25519PrivateKey

    @property
    def digest(self) -> bytes:
        return grant.open_digest(self.data)

    @property
    def issuer_public(self) -> bytes:
        return self.issuer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def make_party() -> Party:
    key = ec.generate_private_key(ec.SECP256R1())
    ephemeral = X25519PrivateKey.generate()
    public = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    wish = Open(b"i" * 16, b"b" * 16, b"c" * 32, certificate_for(key), public)
    data = grant.encode_open(wish)
    return Party(key, wish, data, grant.sign_open(key, data), ephemeral, ed25519.Ed25519PrivateKey.generate())


@pytest.fixture(scope="module")
def party() -> Party:
    return make_party()


@pytest.fixture(scope="module")
def sealed(party: Party) -> tuple[bytes, bytes]:
    plaintext = grant.encode_grant(CONTENT)
    return grant.seal_grant(plaintext, party.digest, party.wish.ephemeral_public, 1, party.issuer.sign)


def unseal(party: Party, sealed: tuple[bytes, bytes], number: int = 1, last: int = 0) -> GrantContent:
    return grant.open_grant_untrusted(party.ephemeral, party.digest, party.issuer_public, last, number, *sealed)


def test_open_round_trip(party: Party) -> None:
    assert grant.parse_open_untrusted(party.data) == party.wish
    certificate = grant.verify_open(party.wish, party.data, party.signature)
    assert certificate.public_bytes(Encoding.DER) == party.wish.certificate


def test_open_with_ed25519(party: Party) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    wish = dataclasses.replace(party.wish, certificate=certificate_for(key))
    data = grant.encode_open(wish)
    grant.verify_open(wish, data, grant.sign_open(key, data))


def test_open_signature_of_another_key_is_refused(party: Party) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(PeerError, match="open_signature"):
        grant.verify_open(party.wish, party.data, grant.sign_open(stranger, party.data))


def test_open_signature_without_the_domain_is_refused(party: Party) -> None:
    signature = party.key.sign(party.data, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(PeerError, match="open_signature"):
        grant.verify_open(party.wish, party.data, signature)


def test_every_bit_of_a_signed_open_counts(party: Party) -> None:
    for position in range(len(party.data)):
        changed = bytearray(party.data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(PeerError):
            grant.verify_open(grant.parse_open_untrusted(bytes(changed)), bytes(changed), party.signature)


def test_key_types_beyond_the_two_are_refused(party: Party) -> None:
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        with pytest.raises(MisuseError):
            grant.sign_open(key, party.data)
        wish = dataclasses.replace(party.wish, certificate=certificate_for(key))
        with pytest.raises(PeerError, match="open_key_type"):
            grant.verify_open(wish, grant.encode_open(wish), b"x" * 70)


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"x" * 72, b"x" * 81, b"x" * 65536])
def test_malformed_open_signatures_are_refused(party: Party, signature: bytes) -> None:
    with pytest.raises(PeerError, match="open_signature"):
        grant.verify_open(party.wish, party.data, signature)


@pytest.mark.parametrize(
    "change",
    [
        {"install": b"i" * 15}, {"boot": b""}, {"challenge": b"c" * 33}, {"ephemeral_public": b"e" * 31},
        {"certificate": b""}, {"certificate": b"x" * 8193},
    ],
)  # fmt: skip
def test_open_sizes_are_bounded(party: Party, change: dict[str, bytes]) -> None:
    with pytest.raises(PeerError, match="bad_open"):
        grant.parse_open_untrusted(grant.encode_open(dataclasses.replace(party.wish, **change)))


def test_open_shapes(party: Party) -> None:
    fields = list(msgpack.unpackb(party.data))
    shapes: list[object] = [
        [], [1], {}, 7, [2, *fields[1:]], [True, *fields[1:]], [*fields, b""], fields[:-1], [1, "i" * 16, *fields[2:]],
        [[1], *fields[1:]], {1: 2},
    ]  # fmt: skip
    for shape in shapes:
        with pytest.raises(PeerError, match="bad_open"):
            grant.parse_open_untrusted(msgpack.packb(shape))
    with pytest.raises(PeerError, match="bad_open"):
        grant.parse_open_untrusted(b"\x91" * 8000)
    with pytest.raises(PeerError, match="bad_open"):
        grant.parse_open_untrusted(b"\xdd\xff\xff\xff\xff\x01")


def test_no_certificate_is_refused(party: Party) -> None:
    wish = dataclasses.replace(party.wish, certificate=b"not DER")
    with pytest.raises(PeerError, match="open_certificate"):
        grant.verify_open(wish, grant.encode_open(wish), party.signature)


def test_grant_round_trip(party: Party, sealed: tuple[bytes, bytes]) -> None:
    assert unseal(party, sealed) == CONTENT


def test_reprs_hide_keys() -> None:
    text = repr(CONTENT)
    assert "client/admin" in text
    assert "p" * 32 not in text and "t" * 300 not in text and "1" * 32 not in text


def test_every_bit_of_a_grant_counts(party: Party, sealed: tuple[bytes, bytes]) -> None:
    for index, part in enumerate(sealed):
        for position in range(len(part)):
            changed = bytearray(part)
            changed[position] ^= 1 << position % 8
            parts = (bytes(changed), sealed[1]) if index == 0 else (sealed[0], bytes(changed))
            with pytest.raises(PeerError, match="grant_signature"):
                unseal(party, parts)


def test_every_bit_counts_even_under_a_genuine_signature(party: Party, sealed: tuple[bytes, bytes]) -> None:
    for position in range(len(sealed[0])):
        changed = bytearray(sealed[0])
        changed[position] ^= 1 << position % 8
        signed = grant.GRANT_DOMAIN + party.digest + (1).to_bytes(8, "big") + bytes(changed)
        with pytest.raises(PeerError, match="grant_sealing"):
            unseal(party, (bytes(changed), party.issuer.sign(signed)))


def test_grant_of_another_open_is_refused(party: Party) -> None:
    other = grant.open_digest(party.data + b"x")
    sealed = grant.seal_grant(grant.encode_grant(CONTENT), other, party.wish.ephemeral_public, 1, party.issuer.sign)
    with pytest.raises(PeerError, match="grant_signature"):
        unseal(party, sealed)


def test_number_must_rise(party: Party, sealed: tuple[bytes, bytes]) -> None:
    for last in (1, 2, 1 << 60):
        with pytest.raises(PeerError, match="grant_number"):
            unseal(party, sealed, last=last)


@pytest.mark.parametrize("number", [0, -1, 2, 1 << 64])
def test_number_is_signed(party: Party, sealed: tuple[bytes, bytes], number: int) -> None:
    with pytest.raises(PeerError, match=r"bad_grant|grant_signature"):
        unseal(party, sealed, number=number)


def test_foreign_issuer_is_refused(party: Party) -> None:
    stranger = ed25519.Ed25519PrivateKey.generate()
    sealed = grant.seal_grant(grant.encode_grant(CONTENT), party.digest, party.wish.ephemeral_public, 1, stranger.sign)
    with pytest.raises(PeerError, match="grant_signature"):
        unseal(party, sealed)


def test_grant_sealed_to_another_key_is_refused(party: Party) -> None:
    other = X25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    sealed = grant.seal_grant(grant.encode_grant(CONTENT), party.digest, other, 1, party.issuer.sign)
    with pytest.raises(PeerError, match="grant_sealing"):
        unseal(party, sealed)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_low_order_ephemeral_is_refused(party: Party, point: bytes) -> None:
    with pytest.raises(PeerError, match="open_ephemeral"):
        grant.seal_grant(b"x", party.digest, point, 1, party.issuer.sign)


def test_bad_issuer_key_in_bundle_is_refused(party: Party, sealed: tuple[bytes, bytes]) -> None:
    with pytest.raises(PeerError, match="grant_signature"):
        grant.open_grant_untrusted(party.ephemeral, party.digest, b"short", 0, 1, *sealed)


def test_grant_shapes() -> None:
    fields = msgpack.unpackb(grant.encode_grant(CONTENT), use_list=False)
    right = fields[-1][0]
    bad_rights: list[object] = [
        (right, right), (right[:3],), (("", *right[1:]),), ((right[0], -1, *right[2:]),), (7,),
        ((*right[:2], b"short", right[3]),), ((*right[:3], ("",)),), ((*right[:3], (7,)),),
        ((*right[:3], ("m",) * 257),),
    ]  # fmt: skip
    shapes: list[object] = [fields[:-1], (2, *fields[1:]), (*fields, 1), *((*fields[:-1], bad) for bad in bad_rights)]
    shapes += [(*fields[:position], wrong, *fields[position + 1 :]) for position in range(14) for wrong in (None, -1)]
    for shape in shapes:
        with pytest.raises(PeerError, match="bad_grant"):
            grant.parse_grant_untrusted(msgpack.packb(shape))
    with pytest.raises(PeerError, match="bad_grant"):
        grant.parse_grant_untrusted(b"")
    with pytest.raises(PeerError, match="bad_grant"):
        grant.parse_grant_untrusted(bytes(grant.GRANT_MAX + 1))


def test_oversize_grant_is_our_misuse() -> None:
    rights = tuple(Right(f"secondary/c{number}", 1, b"k" * 32, ("method",) * 5) for number in range(700))
    with pytest.raises(MisuseError, match="fewer policy lines"):
        grant.encode_grant(dataclasses.replace(CONTENT, rights=rights))
