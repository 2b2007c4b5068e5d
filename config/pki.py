"""The development CA and its certificates: ECDSA P-256, X.509 v3 (RFC 5280), PEM in and out.

`init` makes one CA that signs the server and the clients. A client is who the one URI in its certificate says,
`spiffe://tlsrt.INSTALL/client/NAME`, so a certificate of another installation is refused here.
"""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tlsrt.config.bundle import MAX_REQUEST_BYTES
from tlsrt.config.setting import NAME
from tlsrt.errors import ConfigError, PeerError

CA_LIFE = timedelta(days=3652)
LEAF_LIFE = timedelta(days=397)  # browsers take 398 and no second more; this begins a little before now
CLOCK_SKEW = timedelta(minutes=5)
MAX_CERTIFICATE_BYTES = 1 << 16
_PEM = serialization.Encoding.PEM
_LOCAL = ("localhost", "127.0.0.1", "::1")
_X509_ERRORS = (
    ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.InvalidVersion,
    x509.UnsupportedGeneralNameType, Warning,
)  # fmt: skip

ClientKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
CaPrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
CaPublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


def make_ca(install_id: bytes, now: datetime) -> Issued:
    """Return a new CA for an installation, valid for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"tlsrt {install_id.hex()[:8]} CA")
    builder = _builder(name, name, key.public_key(), now, now + CA_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return _issued(builder.sign(key, hashes.SHA256()), key)


def make_next_ca(install_id: bytes, now: datetime) -> Issued:
    """Return a CA that takes the place of another one of an installation, valid for ten years.

    It may certify the one before it (`certify_ca`), and its name is another, so that neither is taken for the other.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(
        key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    )
    name = _name(f"tlsrt {install_id.hex()[:8]} CA {digest.finalize().hex()[:8]}")
    builder = _builder(name, name, key.public_key(), now, now + CA_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return _issued(builder.sign(key, hashes.SHA256()), key)


def certify_ca(ca: Issued, former_pem: bytes, now: datetime) -> bytes:
    """Return a certificate (PEM) by which who trusts `ca` alone trusts what a former CA has issued (RFC 5280, 3.2).

    It ends with the former CA. The former CA's key is not needed. Raises ConfigError for a CA that has ended.
    """
    former, authority = _load(former_pem), _load(ca.certificate_pem)
    if former.not_valid_after_utc <= now:
        raise ConfigError(f"the CA {former.subject.rfc4514_string()} has ended: nothing of it can be kept")
    signer, public = _private_key(ca.key_pem), former.public_key()
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    if not isinstance(public, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise ConfigError("the key of the CA is of a kind that cannot be certified: use ECDSA, Ed25519 or RSA")
    ends = min(former.not_valid_after_utc, authority.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(former.subject)
        .issuer_name(authority.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(ends)
        .add_extension(_key_identifier(former), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(_PEM)


def split_pem(pem: bytes) -> list[bytes]:
    """Return each certificate of a PEM file, PEM. Raises ConfigError for a file without one."""
    try:
        return [one.public_bytes(_PEM) for one in x509.load_pem_x509_certificates(pem)]
    except ValueError:
        raise ConfigError("this is not a PEM certificate") from None


def is_issued_by(certificate_pem: bytes, authority_pem: bytes) -> bool:
    """Tell whether the first certificate of a PEM was issued by the first one of another. Raises ConfigError."""
    try:
        _load(certificate_pem).verify_directly_issued_by(_load(authority_pem))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def has_ended(certificate_pem: bytes, now: datetime) -> bool:
    """Tell whether the first certificate of a PEM is not valid any more. Raises ConfigError."""
    return _load(certificate_pem).not_valid_after_utc <= now


def is_key_of(key_pem: bytes, certificate_pem: bytes) -> bool:
    """Tell whether a private key belongs to a certificate. Raises ConfigError."""
    key = _private_key(key_pem)
    kinds = (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, rsa.RSAPrivateKey)
    return isinstance(key, kinds) and key.public_key() == _load(certificate_pem).public_key()


def issue_server(ca: Issued, install_id: bytes, host: str, now: datetime, names: Sequence[str] = ()) -> Issued:
    """Return a server certificate for localhost, 127.0.0.1, ::1, `host` and `names`, valid for 397 days."""
    hosts = [name for name in (*_LOCAL, host, *names) if name not in ("0.0.0.0", "::")]  # noqa: S104
    general = [_general_name(name) for name in dict.fromkeys(hosts)]
    return _leaf(ca, f"tlsrt {install_id.hex()[:8]}", general, ExtendedKeyUsageOID.SERVER_AUTH, now)


def renew_server(ca: Issued, certificate_pem: bytes, key_pem: bytes, names: Sequence[str], now: datetime) -> bytes:
    """Return a server certificate (PEM) like the present one for the same key, with these names, valid for 397 days.

    Raises ConfigError unless the CA has issued the present one and the keys belong to both.
    """
    present, authority = _load(certificate_pem), _load(ca.certificate_pem)
    if not is_issued_by(certificate_pem, ca.certificate_pem):
        raise ConfigError(
            f"cannot renew a certificate of {present.issuer.rfc4514_string()}: only those of the development CA, "
            f"{authority.subject.rfc4514_string()}; get one from its issuer, put it there, and reload"
        )
    return reissue_server(ca, certificate_pem, key_pem, names, now)


def reissue_server(ca: Issued, certificate_pem: bytes, key_pem: bytes, names: Sequence[str], now: datetime) -> bytes:
    """Return a server certificate (PEM) in the place of the present one, which any CA may have issued.

    Raises ConfigError unless the keys belong to CA and certificate.
    """
    present, authority = _load(certificate_pem), _load(ca.certificate_pem)
    signer, own = _private_key(ca.key_pem), _private_key(key_pem)
    kinds = (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, rsa.RSAPrivateKey)
    if not isinstance(signer, kinds) or not isinstance(own, kinds):
        raise ConfigError("cannot renew with a key of this kind: use ECDSA P-256, Ed25519 or RSA")
    for key, certificate, what in ((signer, authority, "the CA"), (own, present, "the server certificate")):
        if key.public_key() != certificate.public_key():
            raise ConfigError(f"the private key of {what} belongs to another certificate: put the right one there")
    builder = _builder(present.subject, authority.subject, own.public_key(), now, now + LEAF_LIFE)
    general = [_general_name(name) for name in names]
    builder = _leaf_extensions(builder, signer.public_key(), general, ExtendedKeyUsageOID.SERVER_AUTH)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, digest).public_bytes(_PEM)


def issue_client(ca: Issued, install_id: bytes, name: str, now: datetime) -> Issued:
    """Return a certificate for the client `name`, valid for 397 days. Raises ConfigError for a name not allowed."""
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"{name!r} is no client name: use a-z, 0-9 and _, starting with a letter, at most 31")
    uri = x509.UniformResourceIdentifier(client_uri(install_id, name))
    return _leaf(ca, f"tlsrt client {name}", [uri], ExtendedKeyUsageOID.CLIENT_AUTH, now)


def sign_client(
    authority: x509.Certificate, key: CaPrivateKey, install_id: bytes, name: str, public_key: ClientKey,
    now: datetime, ends: datetime,
) -> x509.Certificate:  # fmt: skip
    """Return a certificate for the key of the client `name`, valid from shortly before `now`."""
    uri = x509.UniformResourceIdentifier(client_uri(install_id, name))
    builder = _builder(_name(f"tlsrt client {name}"), authority.subject, public_key, now, ends)
    builder = _leaf_extensions(builder, key.public_key(), [uri], ExtendedKeyUsageOID.CLIENT_AUTH)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def make_request() -> tuple[bytes, bytes]:
    """Return a new client key's certificate signing request (PKCS #10, DER) and the key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(_name("tlsrt client")).sign(key, hashes.SHA256())
    secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return request.public_bytes(serialization.Encoding.DER), secret


def key_of_request_untrusted(request: bytes) -> ClientKey:
    """Return the key that a signing request proves to have; what else it says counts for nothing. Raises PeerError."""
    if len(request) > MAX_REQUEST_BYTES:
        raise PeerError("request_size")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = x509.load_der_x509_csr(request)
            key = parsed.public_key()
            is_signed = parsed.is_signature_valid
    except (*_X509_ERRORS, UnsupportedAlgorithm):
        raise PeerError("request_shape") from None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) and is_signed:
        return key
    if isinstance(key, ed25519.Ed25519PublicKey) and is_signed:
        return key
    raise PeerError("request_key")


def belongs_to(certificate_der: bytes, request: bytes) -> bool:
    """Tell whether a certificate is for the key of a signing request. For bytes from a peer: cannot fail."""
    try:
        return x509.load_der_x509_certificate(certificate_der).public_key() == key_of_request_untrusted(request)
    except (*_X509_ERRORS, UnsupportedAlgorithm, PeerError):
        return False


def pem_of(certificate_der: bytes) -> bytes:
    """Return the PEM of a certificate. Raises ConfigError for bytes that are none."""
    try:
        return x509.load_der_x509_certificate(certificate_der).public_bytes(_PEM)
    except ValueError:
        raise ConfigError("this is not a certificate") from None


def client_uri(install_id: bytes, name: str) -> str:
    """Return the name of a client in its certificate."""
    return f"spiffe://tlsrt.{install_id.hex()}/client/{name}"


def fingerprint(certificate_pem: bytes) -> bytes:
    """Return SHA-256 of the certificate's DER, as in `clients` of the configuration. Raises ConfigError."""
    return _load(certificate_pem).fingerprint(hashes.SHA256())


def subject_of_client_certificate(certificate_der: bytes, install_id: bytes) -> str:
    """Return `client/NAME` for a client certificate of this installation; verifies nothing.

    For bytes from a peer: raises PeerError and nothing else.
    """
    if len(certificate_der) > MAX_CERTIFICATE_BYTES:
        raise PeerError("certificate-size")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what the parser only tolerates, such as a negative serial number
            extensions = x509.load_der_x509_certificate(certificate_der).extensions
        usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        is_ca = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except _X509_ERRORS:
        raise PeerError("certificate-shape") from None
    if is_ca or ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise PeerError("certificate-usage")
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        raise PeerError("certificate-names")
    match = re.fullmatch(f"spiffe://tlsrt\\.([0-9a-f]{{32}})/(client/{NAME})", names[0].value)
    if match is None:
        raise PeerError("certificate-names")
    if match[1] != install_id.hex():
        raise PeerError("certificate-install")
    return match[2]


def _leaf(
    ca: Issued, common_name: str, names: Iterable[x509.GeneralName], usage: x509.ObjectIdentifier, now: datetime
) -> Issued:
    authority = _load(ca.certificate_pem)
    signer = serialization.load_pem_private_key(ca.key_pem, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(common_name), authority.subject, key.public_key(), now, now + LEAF_LIFE)
    builder = _leaf_extensions(builder, signer.public_key(), names, usage)
    return _issued(builder.sign(signer, hashes.SHA256()), key)


def _leaf_extensions(
    builder: x509.CertificateBuilder, issuer: CaPublicKey, names: Iterable[x509.GeneralName],
    usage: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:  # fmt: skip
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CaPublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_identifier(authority: x509.Certificate) -> x509.SubjectKeyIdentifier:
    """Return what a CA says its key is called: what it has issued refers to that."""
    try:
        return authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except _X509_ERRORS:
        key = authority.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey)
        return x509.SubjectKeyIdentifier.from_public_key(key)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Issued(certificate.public_bytes(_PEM), secret)


def _private_key(pem: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError("this is not a PEM private key without a passphrase") from None


def _load(certificate_pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        raise ConfigError("this is not a PEM certificate") from None
