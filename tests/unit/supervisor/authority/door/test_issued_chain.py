"""What the authority takes of a CA: a chain for the key and the names of the order, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.door.issued_chain import (
    account_key,
    challenge_certificate,
    judge_chain_untrusted,
    make_key,
    read_chain,
    signing_request,
)
from tlsrt.supervisor.authority.model.issued_certificate import (
    IssuedCertificate,
    decode_issued,
    encode_issued,
    open_key,
    seal_key,
)

NOW = datetime(2026, 11, 28, tzinfo=UTC)
NAMES = ("kettle.example.org", "10.1.1.1")
CA_KEY, KEY = ec.generate_private_key(ec.SECP256R1()), make_key()
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA")])
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


def _ca() -> bytes:
    builder = x509.CertificateBuilder().subject_name(CA_NAME).issuer_name(CA_NAME).public_key(CA_KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW - timedelta(1)).not_valid_after(NOW + timedelta(9))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(CA_KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def issued(
    names: tuple[str, ...] = NAMES, key: object = KEY, begins: int = -1, ends: int = 90,
    usage: x509.ObjectIdentifier = SERVER, signer: ec.EllipticCurvePrivateKey = CA_KEY, is_ca: bool = False,
) -> list[bytes]:  # fmt: skip
    request = x509.load_der_x509_csr(signing_request(KEY, names))
    builder = x509.CertificateBuilder().subject_name(request.subject).issuer_name(CA_NAME)
    builder = builder.public_key(key.public_key()).serial_number(0x80FF)  # type: ignore[attr-defined]
    builder = builder.not_valid_before(NOW + timedelta(begins)).not_valid_after(NOW + timedelta(ends))
    for extension in request.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier(b"\x01\x02", None, None), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    return [builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER), _ca()]


def judge(chain: list[bytes]) -> object:
    return judge_chain_untrusted(chain, KEY.public_key(), NAMES, NOW)


def test_a_right_chain_is_taken() -> None:
    found = judge_chain_untrusted(issued(), KEY.public_key(), NAMES, NOW)
    assert (found.names, found.issuer, found.ends) == (NAMES, "CN=a CA", NOW + timedelta(90))
    assert found.identifier == "AQI.AID_"  # the serial number 0x80FF as DER has it
    assert set(read_chain(issued()).names) == set(NAMES)


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ([], "it is empty"),
        (issued(key=make_key()), "another key"),
        (issued(key=ed25519.Ed25519PrivateKey.generate()), "another key"),
        (issued(names=("evil.example.org",)), "it names 'evil.example.org'"),
        (issued(names=(*NAMES, "evil.example.org")), "was ordered"),
        (issued(names=NAMES[:1]), "was ordered"),
        (issued(begins=2), "which is not now"),
        (issued(ends=0), "which is not now"),
        (issued(usage=ExtendedKeyUsageOID.CLIENT_AUTH), "not for servers"),
        (issued(is_ca=True), "a CA's"),
        (issued(signer=make_key()), "cannot be read (InvalidSignature)"),
        ([b"\x30\x03abc"], "cannot be read"),
    ],
)
def test_a_wrong_chain_is_refused(chain: list[bytes], reason: str) -> None:
    with pytest.raises(PeerError) as caught:
        judge(chain)
    assert reason in caught.value.reason


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = (
        bytes([size]) if size < 128 else b"\x81" + bytes([size]) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    )
    return bytes([tag]) + length + content


def with_serial(number: bytes) -> list[bytes]:
    """Return a chain of one certificate, whose signature is not checked, with another serial number."""
    own = x509.load_der_x509_certificate(issued()[0])
    before, after = own.tbs_certificate_bytes.split(b"\x02\x03\x00\x80\xff", 1)
    told = _der(0x30, before[-5:] + _der(2, number) + after)  # the version stands before it
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
    return [_der(0x30, told + algorithm + _der(3, b"\x00" + _der(0x30, _der(2, b"\x01") + _der(2, b"\x01"))))]


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.filterwarnings(
    "ignore:Parsed a negative serial number"
)  # the lowest cryptography warns, later ones refuse
def test_a_serial_number_is_one_of_20_octets_at_most() -> None:
    judge(with_serial(b"\x7f" * 20))
    for number in (b"\xfb", b"\x00", b"\x00\x80" + bytes(20), b"\x01" + bytes(48_000)):
        with pytest.raises(PeerError, match="serial number"):
            judge(with_serial(number))


@given(st.lists(st.binary(max_size=80), max_size=3), st.integers(0, 700), st.integers(0, 255))
def test_any_bytes_are_refused(pieces: list[bytes], at: int, byte: int) -> None:
    changed = bytearray(issued()[0])
    changed[at % len(changed)] ^= byte or 1
    for chain in (pieces, [bytes(changed), _ca()], [*issued(), *pieces, b""]):
        with pytest.raises(PeerError):
            judge(chain)


def test_a_challenge_says_the_digest_and_nothing_else() -> None:
    pem = challenge_certificate(make_key(), "kettle.example.org", b"d" * 32, 5, NOW)
    found = x509.load_pem_x509_certificate(pem)
    identifier = next(one for one in found.extensions if one.oid.dotted_string == "1.3.6.1.5.5.7.1.31")
    assert identifier.critical and isinstance(identifier.value, x509.UnrecognizedExtension)
    assert identifier.value.value == b"\x04\x20" + b"d" * 32
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kettle.example.org"]


def test_the_key_of_an_account_follows_from_its_seed() -> None:
    keys = [load_der_private_key(account_key(bytes(63) + bytes([last])), None) for last in (1, 1, 2)]
    numbers = [key.private_numbers() for key in keys if isinstance(key, ec.EllipticCurvePrivateKey)]
    assert numbers[0] == numbers[1] != numbers[2]


def test_the_private_key_is_sealed_in_the_state() -> None:
    sealed = seal_key(bytes(32), b"secret key", lambda count: bytes(count))
    assert b"secret" not in sealed
    assert open_key(bytes(32), sealed) == b"secret key"
    assert (open_key(b"x" * 32, sealed), open_key(bytes(32), b"")) == (b"", b"")
    kept = IssuedCertificate(("a.example.org",), (b"der",), 3, sealed)
    assert decode_issued(encode_issued(kept)) == kept
    assert decode_issued([]) == IssuedCertificate()
    for wrong in ([1], [[1], [], 0, b""], [[], ["x"], 0, b""]):
        with pytest.raises(ValueError, match="issued certificate"):
            decode_issued(wrong)
