"""Canaries: derived, known again by their hashes, and by nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.session.token import PREFIX_BYTES, TOKEN_VERSION
from tlsrt.config import pki
from tlsrt.config.canaries import NUMBERS, TOKEN_BYTES, canary_client, canary_hashes, canary_token, hash_of, text_of

ROOT, OTHER = bytes(32), bytes([1]) * 32
HASHES = canary_hashes(ROOT)
NOW = datetime(2026, 11, 27, tzinfo=UTC)
CA = pki.make_ca(bytes(16), NOW)


def certificate_of(name: str, number: int, root: bytes = ROOT) -> bytes:
    """Return the certificate of a canary client, DER."""
    authority = load_pem_x509_certificate(CA.certificate_pem)
    signer = load_pem_private_key(CA.key_pem, None)
    key = canary_client(root, number).public_key()
    made = pki.sign_client(authority, signer, bytes(16), name, key, NOW, NOW + timedelta(days=1))  # type: ignore[arg-type]
    return made.public_bytes(Encoding.DER)


def test_each_is_another_and_the_same_again() -> None:
    tokens = [canary_token(ROOT, number) for number in range(NUMBERS)]
    assert len(set(tokens)) == NUMBERS and tokens[3] == canary_token(ROOT, 3)
    assert canary_token(OTHER, 3) != tokens[3]
    assert [HASHES.token(token) for token in tokens] == list(range(NUMBERS))
    assert HASHES.token(canary_token(OTHER, 3)) is None
    clients = {canary_client(ROOT, number).private_numbers().private_value for number in range(NUMBERS)}
    assert len(clients) == NUMBERS


def test_a_token_looks_like_any_other() -> None:
    token = canary_token(ROOT, 0)
    assert len(token) == TOKEN_BYTES > PREFIX_BYTES and token[0] == TOKEN_VERSION
    assert int.from_bytes(token[1:5], "big") == 1 and 0 < int.from_bytes(token[5:13], "big") < 100


def test_a_header_brings_a_token_or_nothing() -> None:
    text = text_of(canary_token(ROOT, 5))
    assert HASHES.token_in(f"Bearer {text}") == HASHES.token_in(f"bearer  {text}==") == 5
    for other in ("", text, f"Basic {text}", f"Bearer {text[:-4]}", "Bearer é", f"Bearer {'A' * 10_000}"):
        assert HASHES.token_in(other) is None


@given(st.text(max_size=40), st.binary(max_size=80))
def test_nothing_else_is_one_and_nothing_fails(header: str, data: bytes) -> None:
    assert HASHES.token_in(header) is None and HASHES.token_in(f"Bearer {header}") is None
    assert HASHES.token(data) is None and HASHES.client(data) is None
    assert HASHES.client(b"\x03\x42\x00\x04" + data) is None


def test_a_client_is_known_by_its_key_whatever_its_name() -> None:
    assert HASHES.client(certificate_of("operator", 2)) == HASHES.client(certificate_of("backup", 2)) == 2
    assert HASHES.client(certificate_of("operator", 2, OTHER)) is None
    assert HASHES.client(load_pem_x509_certificate(CA.certificate_pem).public_bytes(Encoding.DER)) is None


def test_what_primary_holds_makes_no_canary() -> None:
    assert all(len(hashed) == 32 for hashed in (*HASHES.tokens, *HASHES.clients))
    assert hash_of(canary_token(ROOT, 0)) in HASHES.tokens and canary_token(ROOT, 0) not in HASHES.tokens
