"""The primitives, as we call them, against published vectors (package cryptography_vectors; without it this fails).

NIST CAVP for AES-256-GCM and ECDSA P-256, RFC 5869 for HKDF, the vectors of ed25519.cr.yp.to for Ed25519, RFC 7748 for
X25519 and RFC 9180 for HPKE.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import cryptography_vectors
import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.session import grant
from tlsrt.config import hpke, key_schedule
from tlsrt.errors import PeerError

P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
P256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def lines(path: str) -> list[str]:
    with cryptography_vectors.open_vector_file(path, "r") as file:
        text: str = file.read()
    return text.splitlines()


def records(path: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (section, fields) for every record of a CAVP-like file; a field without value is "" or a flag."""
    section, settings = "", {}
    fields: dict[str, str] = {}
    for line in [*lines(path), ""]:
        line = line.strip()
        if line.startswith("[") and "=" in line:
            name, _, value = line.strip("[]").partition(" = ")
            settings[name] = value
        elif line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            fields[name.strip()] = value.strip()
        elif fields:
            yield section, {**settings, **fields}
            fields = {}


def test_aes_256_gcm() -> None:
    good = bad = 0
    for _, case in records("ciphers/AES/GCM/gcmDecrypt256.rsp"):
        if (case["IVlen"], case["Taglen"]) != ("96", "128"):
            continue
        key, nonce, data = (bytes.fromhex(case[name]) for name in ("Key", "IV", "AAD"))
        sealed = bytes.fromhex(case["CT"] + case["Tag"])
        if "FAIL" in case:
            bad += 1
            with pytest.raises(InvalidTag):
                AESGCM(key).decrypt(nonce, sealed, data)
        else:
            good += 1
            plaintext = bytes.fromhex(case["PT"])
            assert AESGCM(key).decrypt(nonce, sealed, data) == plaintext
            assert AESGCM(key).encrypt(nonce, plaintext, data) == sealed
    assert good > 100 and bad > 100


def test_hkdf_extract_and_expand() -> None:
    found = _hkdf_cases()
    assert len(found) == 3
    for case in found:
        salt, secret, info = (bytes.fromhex(case[name]) for name in ("salt", "IKM", "info"))
        prk, output = bytes.fromhex(case["PRK"]), bytes.fromhex(case["OKM"])
        assert key_schedule.extract(salt, secret) == prk
        assert key_schedule.extract(salt, memoryview(secret)) == prk
        assert HKDFExpand(hashes.SHA256(), len(output), info).derive(prk) == output


def _hkdf_cases() -> list[dict[str, str]]:
    """The file has blank lines within a case: a COUNT begins one."""
    found: list[dict[str, str]] = []
    for line in lines("KDF/rfc-5869-HKDF-SHA256.txt"):
        name, mark, value = line.partition("=")
        if name.strip() == "COUNT":
            found.append({})
        elif mark and found:
            found[-1][name.strip()] = value.strip()
    return found


@given(st.binary(min_size=32, max_size=32), st.lists(st.binary(max_size=40) | st.integers(0, 2**64 - 1) | st.text()))
def test_our_expand_is_hkdf_expand(key: bytes, context: list[bytes | int | str]) -> None:
    info = b"tlsrt/v1/use"
    for field in context:
        if isinstance(field, int):
            info += b"\x00\x08" + field.to_bytes(8, "big")
        else:
            data = field.encode() if isinstance(field, str) else field
            info += len(data).to_bytes(2, "big") + data
    assert key_schedule.expand(key, "use", *context) == HKDFExpand(hashes.SHA256(), 32, info).derive(key)


def test_expand_keeps_fields_apart() -> None:
    key = bytes(32)
    assert key_schedule.expand(key, "use", b"ab", b"c") != key_schedule.expand(key, "use", b"a", b"bc")
    assert key_schedule.expand(key, "use", b"") != key_schedule.expand(key, "use")


def test_ed25519() -> None:
    cases = [line.split(":") for line in lines("asymmetric/Ed25519/sign.input") if line]
    assert len(cases) == 1024
    for secret, public, message, signed, _ in cases:
        data, signature = bytes.fromhex(message), bytes.fromhex(signed)[:64]
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)[:32])
        assert private.public_key().public_bytes_raw() == bytes.fromhex(public)
        assert private.sign(data) == signature
        verifier = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        verifier.verify(signature, data)
        with pytest.raises(InvalidSignature):
            verifier.verify(signature, data + b"\0")


def test_ed25519_refuses_the_second_form_of_a_signature() -> None:
    """RFC 8032, section 5.1.7: S is below the order; S + order would make two signatures of one."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signature = private.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    with pytest.raises(InvalidSignature):
        private.public_key().verify(signature[:32] + scalar.to_bytes(32, "little"), b"message")


def test_x25519() -> None:
    count = 0
    for _, case in records("asymmetric/X25519/rfc7748.txt"):
        scalar, point = bytes.fromhex(case["INPUT_SCALAR"]), bytes.fromhex(case["INPUT_U"])
        shared = X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(point))
        assert shared == bytes.fromhex(case["OUTPUT_U"])
        count += 1
    assert count >= 2


LOW_ORDER = (
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_low_order_point_is_refused(point: str) -> None:
    """RFC 7748, section 6.1: the shared secret would be zero, whoever holds the keys."""
    with pytest.raises(ValueError, match=r"(?i)shared"):
        X25519PrivateKey.from_private_bytes(bytes(range(32))).exchange(
            X25519PublicKey.from_public_bytes(bytes.fromhex(point))
        )
    with pytest.raises(PeerError, match="open_ephemeral"):
        grant.seal_grant(b"grant", bytes(32), bytes.fromhex(point), 1, lambda data: bytes(64))


def test_ecdsa_p256_sha256() -> None:
    good = bad = 0
    for section, case in records("asymmetric/ECDSA/FIPS_186-3/SigVer.rsp"):
        if section != "P-256,SHA-256":
            continue
        x, y, r, s = (int(case[name], 16) for name in ("Qx", "Qy", "R", "S"))
        message, signature = bytes.fromhex(case["Msg"]), encode_dss_signature(r, s)
        key = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
        if case["Result"].startswith("P"):
            good += 1
            key.verify(signature, message, ECDSA(hashes.SHA256()))
        else:
            bad += 1
            with pytest.raises(InvalidSignature):
                key.verify(signature, message, ECDSA(hashes.SHA256()))
    assert good >= 3 and bad >= 10


def test_a_point_off_the_curve_is_no_key() -> None:
    """Keys come as encoded points (SEC 1, section 2.3.4). Some of NIST's coordinates do not even fit that encoding."""
    good = bad = unfit = 0
    for section, case in records("asymmetric/ECDSA/FIPS_186-3/PKV.rsp"):
        if section != "P-256":
            continue
        x, y = int(case["Qx"], 16), int(case["Qy"], 16)
        if max(x, y) >> 256:
            unfit += 1
            assert case["Result"].startswith("F")
            continue
        point = b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")
        if case["Result"].startswith("P"):
            good += 1
            EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
        else:
            bad += 1
            _is_no_key(point)
    assert good >= 2 and bad >= 3 and unfit >= 3


def test_a_coordinate_is_below_the_prime() -> None:
    """The point with x = 5 is on the curve; with x = 5 + p it is the same point in a second form."""
    x = 5
    y = pow((x**3 - 3 * x + P256_B) % P256_PRIME, (P256_PRIME + 1) // 4, P256_PRIME)
    tail = y.to_bytes(32, "big")
    EllipticCurvePublicKey.from_encoded_point(SECP256R1(), b"\x04" + x.to_bytes(32, "big") + tail)
    _is_no_key(b"\x04" + (x + P256_PRIME).to_bytes(32, "big") + tail)


def _is_no_key(point: bytes) -> None:
    with pytest.raises(ValueError, match=r"(?i)invalid"):
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)


def test_hpke() -> None:
    """Base mode, X25519, HKDF-SHA256, AES-256-GCM. The vectors have associated data, our calls have none: so the
    published key and nonce are checked with it, and used without it."""
    with cryptography_vectors.open_vector_file("HPKE/test-vectors.json", "r") as file:
        cases = [case for case in json.load(file) if _suite(case) == (0, 0x0020, 0x0001, 0x0002)]
    assert len(cases) == 1
    case = {name: bytes.fromhex(value) for name, value in cases[0].items() if isinstance(value, str)}
    cipher = AESGCM(case["key"])
    first = {name: bytes.fromhex(value) for name, value in cases[0]["encryptions"][0].items()}
    assert cipher.encrypt(case["base_nonce"], first["pt"], first["aad"]) == first["ct"]
    ours = case["enc"] + cipher.encrypt(case["base_nonce"], first["pt"], b"")
    private = X25519PrivateKey.from_private_bytes(case["skRm"])
    assert private.public_key().public_bytes_raw() == case["pkRm"]
    for suite in (hpke.SUITE, hpke.OwnSuite()):
        assert suite.decrypt(ours, private, info=case["info"]) == first["pt"]
        with pytest.raises(InvalidTag):
            suite.decrypt(ours, private, info=case["info"] + b"\0")


def _suite(case: dict[str, object]) -> tuple[object, ...]:
    return tuple(case[name] for name in ("mode", "kem_id", "kdf_id", "aead_id"))
