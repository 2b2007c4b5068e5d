"""A private key comes out of its PEM file as cryptography reads it, and no copy of the text is made on the way."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tlsrt.supervisor.process.private_key import read_private_key

EC = ec.generate_private_key(ec.SECP256R1())
KEYS: list[Any] = [EC, ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)]
PLAIN = EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
BESIDE = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_it_is_what_cryptography_reads(key: Any) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert read_private_key(pem).public_key() == key.public_key()
    assert read_private_key(pem.replace(b"\n", b"\r\n")).public_key() == key.public_key()


def test_the_older_forms_and_what_stands_beside_it() -> None:
    for key in (KEYS[0], KEYS[2]):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        assert read_private_key(b"words\n" + BESIDE + pem + b"more\n").public_key() == key.public_key()


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_one_with_a_passphrase_is_a_type_error_as_ever(form: PrivateFormat) -> None:
    pem = EC.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))
    for read in (read_private_key, lambda pem: load_pem_private_key(pem, None)):
        with pytest.raises(TypeError):
            read(pem)


@pytest.mark.parametrize(
    "pem",
    [b"", b"nothing", BESIDE, PLAIN[:-10], PLAIN[:60], PLAIN.replace(b"M", b"*"), PLAIN.replace(b"MI", b"AA"),
     PLAIN.replace(b"PRIVATE", b"PUBLIC")],
)  # fmt: skip
def test_everything_else_is_a_value_error(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_private_key(pem)
