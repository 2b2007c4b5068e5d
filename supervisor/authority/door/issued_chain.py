"""Judgement of a chain that a CA has sent for a key of ours, and what is made for an order. Pure.

The CA decides who believes the certificate, and nothing else: it must be for the key that was made for this order and
name exactly what was ordered, or it is not taken.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from tlsrt.errors import PeerError

CLOCK_SLACK = timedelta(minutes=5)
_ACME_IDENTIFIER = ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737, section 6.1
_OCTET_STRING = b"\x04\x20"  # of 32 bytes
_CHALLENGE_LIFE = timedelta(days=1)
_WORDS_MAX = 200
_SERIAL_END = 1 << 160  # 20 octets (RFC 5280, section 4.1.2.2)
# The order of P-256: FIPS 186-5 has keys of it made from 64 bits more than it has.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class IssuedChain:
    """What is said of a chain. `identifier` is its name in renewal information (RFC 9773), empty if it has none."""

    names: tuple[str, ...]
    issuer: str
    begins: datetime
    ends: datetime
    identifier: str


def make_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key for a certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def account_key(seed: bytes) -> bytes:
    """Return the key of an account (PKCS #8, DER) that 64 bytes decide."""
    key = ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, ec.SECP256R1())
    return der_of(key)


def der_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PKCS #8, DER."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PKCS #8, PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signing_request(key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> bytes:
    """Return the request for a certificate of these names (PKCS #10, DER)."""
    general = x509.SubjectAlternativeName([_general(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(general, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def challenge_certificate(
    key: ec.EllipticCurvePrivateKey, name: str, digest: bytes, serial: int, now: datetime
) -> bytes:
    """Return the certificate of tls-alpn-01 (PEM): without an issuer, and with the digest alone."""
    subject = x509.Name([])
    identifier = x509.UnrecognizedExtension(_ACME_IDENTIFIER, _OCTET_STRING + digest)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(serial).not_valid_before(now - CLOCK_SLACK).not_valid_after(now + _CHALLENGE_LIFE)
        .add_extension(x509.SubjectAlternativeName([_general(name)]), critical=True)
        .add_extension(identifier, critical=True)
    )  # fmt: skip
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def judge_chain_untrusted(
    chain: Sequence[bytes], key: ec.EllipticCurvePublicKey, names: Sequence[str], now: datetime
) -> IssuedChain:
    """Return what a chain (DER, the certificate first) says. Raises PeerError with a sentence, and only that."""
    try:
        certificates = [x509.load_der_x509_certificate(one) for one in chain]
        if not certificates:
            raise PeerError("it is empty")
        return _judge(certificates, key, names, now)
    except (
        ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.InvalidVersion,
        x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
    ) as error:  # fmt: skip
        raise PeerError(f"it cannot be read ({type(error).__name__})") from error


def _judge(
    certificates: Sequence[x509.Certificate], key: ec.EllipticCurvePublicKey, names: Sequence[str], now: datetime
) -> IssuedChain:
    own = certificates[0]
    if own.public_key() != key:
        raise PeerError("it is for another key than the one of this order")
    general = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if _told(general) != _told(map(_general, names)):
        said = ", ".join(str(one.value) for one in general)
        raise PeerError(f"it names {ascii(said)[:_WORDS_MAX]}, and {', '.join(names)} was ordered")
    if now + CLOCK_SLACK < own.not_valid_before_utc or now >= own.not_valid_after_utc:
        raise PeerError(f"it is valid from {own.not_valid_before_utc} to {own.not_valid_after_utc}, which is not now")
    if ExtendedKeyUsageOID.SERVER_AUTH not in own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value:
        raise PeerError("it is not for servers")
    if _is_ca(own):
        raise PeerError("it is a CA's")
    if not 0 < own.serial_number < _SERIAL_END:  # it is in the identifier, which messages carry
        raise PeerError("its serial number is not one of 20 octets at most")
    for one, issuer in pairwise(certificates):
        one.verify_directly_issued_by(issuer)
    return IssuedChain(
        tuple(names), ascii(own.issuer.rfc4514_string())[1:-1][:_WORDS_MAX], own.not_valid_before_utc,
        own.not_valid_after_utc, _identifier(own),
    )  # fmt: skip


def _told(general: Iterable[x509.GeneralName]) -> set[tuple[type[x509.GeneralName], str]]:
    return {(type(one), str(one.value)) for one in general}


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _identifier(certificate: x509.Certificate) -> str:
    """Return the key identifier of the issuer and the serial number, as RFC 9773, section 4.1 joins them."""
    try:
        known = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        known = None
    if known is None or len(known) > _WORDS_MAX:
        return ""
    serial = certificate.serial_number
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # as DER has it: a byte 0 before a high bit
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode("ascii") for part in (known, number))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def read_chain(chain: Sequence[bytes]) -> IssuedChain:
    """Return what a chain of the state says, which was judged when it came. Raises ValueError."""
    own = x509.load_der_x509_certificate(chain[0])
    general = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return IssuedChain(
        tuple(str(one.value) for one in general), ascii(own.issuer.rfc4514_string())[1:-1][:_WORDS_MAX],
        own.not_valid_before_utc, own.not_valid_after_utc, _identifier(own),
    )  # fmt: skip


def pem_chain(chain: Sequence[bytes]) -> bytes:
    """Return a chain as PEM."""
    return b"".join(x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in chain)


def instant(wall: int) -> datetime:
    """Return a wall time in ms as an aware datetime."""
    return datetime.fromtimestamp(wall / 1000, UTC)
