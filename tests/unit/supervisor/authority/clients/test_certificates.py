from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hosts.authority_host import ADMIN, CA, INSTALL, NOW, SERVER

from tlsrt.config import pki
from tlsrt.config.access import ClientConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.clients.certificates import ClientCertificates

KEY = ec.generate_private_key(ec.SECP256R1())
CA_KEY = ec.generate_private_key(ec.SECP256R1())
CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
URI = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(pki.client_uri(INSTALL, "admin"))])
USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
LEAF = x509.BasicConstraints(ca=False, path_length=None)
ROOT = x509.BasicConstraints(ca=True, path_length=0)
WALL = int(NOW.timestamp() * 1000)
DAY = timedelta(days=1)


def load(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def build(
    *extensions: tuple[x509.ExtensionType, bool],
    key: ec.EllipticCurvePrivateKey = KEY,
    signer: ec.EllipticCurvePrivateKey = CA_KEY,
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
) -> x509.Certificate:
    name = CA_NAME if key is CA_KEY else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(CA_NAME).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(start).not_valid_after(end)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def usage(*, signs: bool, digital: bool) -> x509.KeyUsage:
    return x509.KeyUsage(digital, False, False, False, False, signs, signs, False, False)


AUTHORITY = build((ROOT, True), key=CA_KEY)
GOOD = ((LEAF, True), (USAGE, False), (URI, False))


def check(certificate: x509.Certificate, authority: x509.Certificate = AUTHORITY, wall: int = WALL) -> str:
    clients = (ClientConfig("admin", certificate.fingerprint(hashes.SHA256())),)
    return ClientCertificates([authority], clients, INSTALL).check_untrusted(certificate, wall)[0]


def test_the_registered_client_comes_in() -> None:
    assert check(build(*GOOD)) == "client/admin"
    assert check(load(ADMIN.certificate_pem), load(CA.certificate_pem)) == "client/admin"
    both = ClientCertificates(
        [AUTHORITY, load(CA.certificate_pem)], [ClientConfig("admin", pki.fingerprint(ADMIN.certificate_pem))], INSTALL
    )
    assert both.check_untrusted(load(ADMIN.certificate_pem), WALL)[0] == "client/admin"


UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4.5"), b"x")
OTHER = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(pki.client_uri(b"o" * 16, "admin"))])
MALLORY = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(pki.client_uri(INSTALL, "mallory"))])


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (build(*GOOD, signer=KEY), "certificate_chain"),
        (build(*GOOD, start=NOW - 3 * DAY, end=NOW - DAY), "certificate_time"),
        (build(*GOOD, start=NOW + DAY, end=NOW + 3 * DAY), "certificate_time"),
        (build((LEAF, True), (URI, False), (UNKNOWN, True), (USAGE, False)), "certificate_extension"),
        (build(*GOOD, (usage(signs=True, digital=False), True)), "certificate_usage"),
        (build((LEAF, True), (URI, False)), "certificate-shape"),
        (build((USAGE, False), (LEAF, True)), "certificate-shape"),
        (build((ROOT, True), (USAGE, False), (URI, False)), "certificate-usage"),
        (build((LEAF, True), (USAGE, False), (OTHER, False)), "certificate-install"),
        (build((LEAF, True), (USAGE, False), (MALLORY, False)), "certificate_unregistered"),
        (AUTHORITY, "certificate-shape"),
        (load(SERVER.certificate_pem), "certificate_chain"),
    ],
)
def test_what_does_not_fit_is_refused(certificate: x509.Certificate, reason: str) -> None:
    with pytest.raises(PeerError) as refused:
        check(certificate)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "authority",
    [
        build(key=CA_KEY),  # no basic constraints
        build((LEAF, True), key=CA_KEY),
        build((ROOT, True), (usage(signs=False, digital=True), True), key=CA_KEY),
        build((ROOT, True), key=CA_KEY, start=NOW - 3 * DAY, end=NOW - DAY),
    ],
)
def test_a_ca_that_may_not_sign_is_none(authority: x509.Certificate) -> None:
    with pytest.raises(PeerError, match="certificate_chain"):
        check(build(*GOOD), authority)


def test_another_certificate_of_the_same_name_is_not_registered() -> None:
    certificates = ClientCertificates([AUTHORITY], [ClientConfig("admin", b"f" * 32)], INSTALL)
    with pytest.raises(PeerError, match="certificate_unregistered"):
        certificates.check_untrusted(build(*GOOD), WALL)


def test_nobody_is_registered_as_none() -> None:
    none = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(pki.client_uri(INSTALL, "none"))])
    certificates = ClientCertificates([AUTHORITY], [], INSTALL)
    with pytest.raises(PeerError, match="certificate_unregistered"):
        certificates.check_untrusted(build((LEAF, True), (USAGE, False), (none, False)), WALL)
