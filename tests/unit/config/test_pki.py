"""The development CA: what it signs is taken by OpenSSL and by cryptography, and names only whom it should."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tlsrt.config.pki import (
    MAX_CERTIFICATE_BYTES,
    Issued,
    client_uri,
    fingerprint,
    issue_client,
    issue_server,
    make_ca,
    subject_of_client_certificate,
)
from tlsrt.errors import ConfigError, PeerError

INSTALL = bytes(range(16))
NOW = datetime.now(UTC).replace(microsecond=0)
CA = make_ca(INSTALL, NOW)
SERVER = issue_server(CA, INSTALL, "host.example", NOW)
ADMIN = issue_client(CA, INSTALL, "admin", NOW)


def load(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate_pem)


def der(issued: Issued) -> bytes:
    return load(issued).public_bytes(serialization.Encoding.DER)


def forged(names: list[x509.GeneralName] | None, usage: x509.ObjectIdentifier | None, ca: bool | None = False) -> bytes:
    """A certificate with the given extensions, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client/admin")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("issued", "life"), [(CA, timedelta(days=3652)), (SERVER, timedelta(days=397)), (ADMIN, timedelta(days=397))]
)
def test_validity_and_key(issued: Issued, life: timedelta) -> None:
    certificate = load(issued)
    assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == NOW + life
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256r1"
    key = serialization.load_pem_private_key(issued.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == public


def test_the_repr_hides_the_key() -> None:
    assert "PRIVATE" not in repr(CA)


def test_server_names() -> None:
    names = load(SERVER).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "host.example"]
    local = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    assert names.get_values_for_type(x509.IPAddress) == local


@pytest.mark.parametrize(
    ("host", "more"), [("127.0.0.1", 0), ("localhost", 0), ("0.0.0.0", 0), ("::", 0), ("10.1.2.3", 1), ("fe80::1", 1)]
)
def test_server_names_of_addresses(host: str, more: int) -> None:
    names = load(issue_server(CA, INSTALL, host, NOW)).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert len(list(names.value)) == 3 + more


def test_cryptography_verifies_both() -> None:
    store = verification.Store([load(CA)])
    server = verification.PolicyBuilder().store(store).time(NOW).build_server_verifier(x509.DNSName("host.example"))
    assert server.verify(load(SERVER), [])[-1] == load(CA)
    client = verification.PolicyBuilder().store(store).time(NOW).build_client_verifier()
    assert client.verify(load(ADMIN), []).subjects == [x509.UniformResourceIdentifier(client_uri(INSTALL, "admin"))]
    with pytest.raises(verification.VerificationError):
        client.verify(load(SERVER), [])
    with pytest.raises(verification.VerificationError):
        client.verify(load(issue_client(make_ca(INSTALL, NOW), INSTALL, "admin", NOW)), [])


def context(side: int, issued: Issued, folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(side)
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=CA.certificate_pem.decode())
    path = folder / f"{side}.pem"
    path.write_bytes(issued.certificate_pem + issued.key_pem)
    made.load_cert_chain(path)
    return made


def test_openssl_takes_both_in_a_strict_mutual_handshake(tmp_path: Path) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context(ssl.PROTOCOL_TLS_SERVER, SERVER, tmp_path).wrap_bio(to_server, to_client, server_side=True)
    client = context(ssl.PROTOCOL_TLS_CLIENT, ADMIN, tmp_path).wrap_bio(
        to_client, to_server, server_hostname="127.0.0.1"
    )
    done: set[ssl.SSLObject] = set()
    for side in (client, server) * 4:
        try:
            side.do_handshake()
            done.add(side)
        except ssl.SSLWantReadError:
            pass
    assert done == {client, server}
    peer = server.getpeercert(binary_form=True)
    assert peer is not None
    assert subject_of_client_certificate(peer, INSTALL) == "client/admin"


def test_client_subject() -> None:
    assert client_uri(INSTALL, "admin") == "spiffe://tlsrt.000102030405060708090a0b0c0d0e0f/client/admin"
    assert subject_of_client_certificate(der(ADMIN), INSTALL) == "client/admin"


@pytest.mark.parametrize("name", ["", "Admin", "a/b", "a b", "9a", "a" * 32, "admin\n", "ädmin"])
def test_client_names_that_are_none(name: str) -> None:
    with pytest.raises(ConfigError, match="is no client name: use a-z, 0-9 and _"):
        issue_client(CA, INSTALL, name, NOW)


GOOD = x509.UniformResourceIdentifier(client_uri(INSTALL, "admin"))
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


def uri(text: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(text)]


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (b"", "certificate-shape"),
        (b"\x30\x03\x02\x01\x00", "certificate-shape"),
        (der(ADMIN)[:-1], "certificate-shape"),
        (der(ADMIN) + b"\0", "certificate-shape"),
        (bytes(MAX_CERTIFICATE_BYTES + 1), "certificate-size"),
        (der(CA), "certificate-shape"),
        (der(SERVER), "certificate-usage"),
        (forged(None, CLIENT), "certificate-shape"),
        (forged([GOOD], None), "certificate-shape"),
        (forged([GOOD], CLIENT, ca=None), "certificate-shape"),
        (forged([GOOD], CLIENT, ca=True), "certificate-usage"),
        (forged([GOOD], ExtendedKeyUsageOID.SERVER_AUTH), "certificate-usage"),
        (forged([GOOD, GOOD], CLIENT), "certificate-names"),
        (forged([GOOD, x509.DNSName("localhost")], CLIENT), "certificate-names"),
        (forged([x509.DNSName("admin")], CLIENT), "certificate-names"),
        (forged(uri(client_uri(INSTALL, "admin") + "/x"), CLIENT), "certificate-names"),
        (forged(uri(client_uri(INSTALL, "Admin")), CLIENT), "certificate-names"),
        (forged(uri(client_uri(INSTALL, "admin") + "\n"), CLIENT), "certificate-names"),
        (forged(uri(client_uri(INSTALL, "admin").replace("client", "loop")), CLIENT), "certificate-names"),
        (forged(uri("https" + client_uri(INSTALL, "admin")[6:]), CLIENT), "certificate-names"),
        (forged(uri(client_uri(bytes(16), "admin")), CLIENT), "certificate-install"),
    ],
)
def test_certificates_that_name_nobody(certificate: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as caught:
        subject_of_client_certificate(certificate, INSTALL)
    assert caught.value.reason == reason


def test_fingerprint() -> None:
    assert fingerprint(ADMIN.certificate_pem) == load(ADMIN).fingerprint(hashes.SHA256())
    with pytest.raises(ConfigError, match="this is not a PEM certificate"):
        fingerprint(b"hello")
