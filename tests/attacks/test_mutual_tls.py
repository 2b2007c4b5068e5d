"""Attacked sentence: nobody comes in but a client whose certificate is good now, in every respect.

Each refusal is a TLS alert or one generic word, and its reason stands in the log: of Primary where TLS itself refuses,
of the authority for what TLS does not look at.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from attackers.arena import STAGE, VICTIM, Arena
from attackers.tls_peer import TlsPeer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from fakes.revocation_lists import make_crl
from hosts.reloading_host import edit, reload
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.channels.session.grant import Open, encode_open
from tlsrt.channels.tls.message_stream import Control, encode_control
from tlsrt.config import pki
from tlsrt.config.bundle import Bundle, write_bundle
from tlsrt.errors import CallError

REJECTED = Control("refused", ("rejected",))
Builder = x509.CertificateBuilder


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """A host with a revocation list, on which nobody stands yet."""
    for made in running(request, **STAGE, clients=["guest"]):
        set_crl(made, make_crl(ca_of(made)))
        edit(made, lambda document: document["door"].update(crl="revoked.crl"))
        reload(made)
        yield made


def ca_of(host: RunningHost) -> pki.Issued:
    return pki.Issued((host.folder / "ca.crt").read_bytes(), (host.folder / "ca.key").read_bytes())


def set_crl(host: RunningHost, data: bytes) -> None:
    beside = host.folder / "revoked.new"
    beside.write_bytes(data)
    beside.rename(host.folder / "revoked.crl")


# -- certificates ----------------------------------------------------------------------------------------------


def leaf(
    host: RunningHost, *, ca: pki.Issued | None = None, names: list[x509.GeneralName] | None = None,
    usages: list[x509.ObjectIdentifier] | None = None, begins: float = -1.0, days: float = 30.0,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None, is_ca: bool = False,
    signs: bool = True, common_name: str = "guest",
) -> pki.Issued:  # fmt: skip
    """Issue a client certificate, right in everything that is not said otherwise."""
    issuer = ca or ca_of(host)
    authority = x509.load_pem_x509_certificate(issuer.certificate_pem)
    signer = serialization.load_pem_private_key(issuer.key_pem, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    own = key or ec.generate_private_key(ec.SECP256R1())
    start = datetime.now(UTC) + timedelta(days=begins)
    uri = x509.UniformResourceIdentifier(pki.client_uri(host.config.install_id, "guest"))
    builder = Builder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
    builder = builder.issuer_name(authority.subject).public_key(own.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    builder = builder.add_extension(
        x509.KeyUsage(signs, False, False, False, not signs, False, False, False, False), critical=True
    )
    if usages is None or usages:
        listed = [ExtendedKeyUsageOID.CLIENT_AUTH] if usages is None else usages
        builder = builder.add_extension(x509.ExtendedKeyUsage(listed), critical=False)
    if names is None or names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names or [uri]), critical=False)
    made = builder.sign(signer, hashes.SHA256())
    pem = serialization.Encoding.PEM
    return pki.Issued(
        made.public_bytes(pem),
        own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def bundle_of(host: RunningHost, issued: pki.Issued, name: str = "mallory") -> str:
    """Put a bundle with this certificate where the host's clients have theirs; return its name."""
    admin, path = host.admin, host.folder / f"{name}.tlsrt"
    path.unlink(missing_ok=True)
    write_bundle(
        path,
        Bundle(
            1, admin.install_id, "guest", "127.0.0.1", host.port, "127.0.0.1", admin.ca_pem, issued.certificate_pem,
            issued.key_pem, admin.issuer_public,
        ),
    )  # fmt: skip
    return name


def other_ca(host: RunningHost) -> pki.Issued:
    return leaf(host, ca=pki.make_ca(host.config.install_id, datetime.now(UTC)))


def intermediate(host: RunningHost) -> pki.Issued:
    """Signed by a client of the CA, which is no CA."""
    return leaf(host, ca=leaf(host, common_name="middle"))


def dns(name: str) -> list[x509.GeneralName]:
    return [x509.DNSName(name)]


def uri(value: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(value)]


Make = Callable[[RunningHost], pki.Issued]
BY_TLS: dict[str, tuple[Make, str, str]] = {  # certificate -> alert, reason in Primary's log
    "expired": (lambda host: leaf(host, begins=-30, days=29), "expired", "tls_certificate_has_expired"),
    "not yet valid": (lambda host: leaf(host, begins=1), "bad certificate", "tls_certificate_is_not_yet_valid"),
    "of another CA": (other_ca, "", "tls_certificate_signature_failure"),
    "of an intermediate": (intermediate, "unknown ca", "tls_unable_to_get_local_issuer_certificate"),
    "for servers": (
        lambda host: leaf(host, usages=[ExtendedKeyUsageOID.SERVER_AUTH]), "unsupported certificate",
        "tls_unsuitable_certificate_purpose",
    ),
    "with a weak key": (
        lambda host: leaf(host, key=rsa.generate_private_key(65537, 1024)), "", "tls_ee_certificate_key_too_weak",
    ),
}  # fmt: skip
BY_AUTHORITY: dict[str, tuple[Make, str]] = {
    "without usage": (lambda host: leaf(host, usages=[]), "certificate-shape"),
    "for code": (lambda host: leaf(host, usages=[ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.CLIENT_AUTH],
                                   signs=False), "certificate_usage"),
    "of a CA": (lambda host: leaf(host, is_ca=True), "certificate-usage"),
    "without a name": (lambda host: leaf(host, names=[]), "certificate-shape"),
    "with a DNS name": (lambda host: leaf(host, names=dns("guest")), "certificate-names"),
    "with a second name": (
        lambda host: leaf(host, names=[*uri(pki.client_uri(host.config.install_id, "guest")), *dns("x")]),
        "certificate-names",
    ),
    "with another path": (lambda host: leaf(host, names=uri(f"spiffe://tlsrt.{'0' * 32}/server/guest")),
                          "certificate-names"),
    "of another installation": (
        lambda host: leaf(host, names=uri(pki.client_uri(bytes(16), "guest"))), "certificate-install",
    ),
    "of somebody who is not listed": (leaf, "certificate_unregistered"),
}  # fmt: skip


def lax(host: RunningHost, name: str) -> ssl.SSLContext:
    """The client's own OpenSSL lets its weak key pass."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.set_ciphers("DEFAULT@SECLEVEL=0")
    made.load_verify_locations(cadata=host.admin.ca_pem.decode())
    made.set_alpn_protocols(["tlsrt/1"])
    bundle = host.bundle(name)
    certificate, key = host.folder / f"{name}.crt", host.folder / f"{name}.key"
    certificate.write_bytes(bundle.certificate_pem)
    key.write_bytes(bundle.key_pem)
    made.load_cert_chain(certificate, key)
    return made


@pytest.mark.parametrize(("make", "alert", "reason"), BY_TLS.values(), ids=BY_TLS)
def test_a_certificate_that_tls_refuses(arena: Arena, make: Make, alert: str, reason: str) -> None:
    name = bundle_of(arena.host, make(arena.host))
    with TlsPeer(arena.host, name, context=lax(arena.host, name)) as peer, pytest.raises(ssl.SSLError) as refused:
        peer.control()
    assert "alert" in str(refused.value).lower() and alert in str(refused.value), refused.value
    arena.turned_away(reason)


@pytest.mark.parametrize(("make", "reason"), BY_AUTHORITY.values(), ids=BY_AUTHORITY)
def test_a_certificate_that_the_authority_refuses(arena: Arena, make: Make, reason: str) -> None:
    with TlsPeer(arena.host, bundle_of(arena.host, make(arena.host))) as peer:
        install, boot, challenge = peer.challenge()
        data = encode_open(Open(install, boot, challenge, peer.identity.certificate, bytes(31) + b"\x09"))
        assert isinstance(peer.identity.private_key, ec.EllipticCurvePrivateKey)
        signature = peer.identity.private_key.sign(b"tlsrt/open/v1\0" + data, ec.ECDSA(hashes.SHA256()))
        peer.send(encode_control("open", data, signature))
        assert [peer.control(), peer.control()] == [REJECTED, Control("", ())]
    assert f"was refused: {reason}" in arena.news("authority")
    arena.turned_away("refused_rejected")


def test_who_is_revoked_during_a_session_is_cut_and_does_not_come_again(arena: Arena) -> None:
    """Not by another connection, and not by resumption: there is nothing to resume."""
    host, guest = arena.host, arena.host.bundle("guest")
    with TlsPeer(host, "guest") as peer:
        peer.open()
        ticket = peer.tls_session
        assert ticket is None or not ticket.has_ticket
        set_crl(host, make_crl(ca_of(host), [guest.certificate_pem]))
        reload(host)
        assert [peer.control(), peer.control()] == [Control("goodbye", ("ended",)), Control("", ())]
    with TlsPeer(host, "guest", context=peer.context, session=ticket) as peer:
        assert not peer.is_resumed
        peer.send(encode_control("open", *peer.opening.answer_untrusted(*peer.challenge())))
        assert peer.control() == REJECTED
    assert "was refused: certificate_revoked" in host.log("authority")
    with pytest.raises(CallError), Client(guest):
        pass
    set_crl(host, make_crl(ca_of(host)))
    reload(host)
    with Client(guest):
        pass
    assert arena.client.call(VICTIM, "value") == arena.total


def test_a_list_that_ends_is_told_before_and_refuses_everybody_after(arena: Arena) -> None:
    host = arena.host
    set_crl(host, make_crl(ca_of(host), begins=timedelta(days=-1), lasts=timedelta(days=1, seconds=3)))
    report = reload(host)
    assert any("the revocation list of the client CA ends on" in line for line in report["warnings"]), report
    with Client(host.bundle("guest")) as before:
        limit = datetime.now(UTC) + timedelta(seconds=20)
        while not refused(host):
            assert datetime.now(UTC) < limit
            select.select([], [], [], 0.05)  # the door lets nobody come too often
        assert "was refused: crl_stale" in host.log("authority")
        assert before
    set_crl(host, make_crl(ca_of(host)))
    reload(host)
    assert not refused(host)


def refused(host: RunningHost) -> bool:
    with TlsPeer(host, "guest") as peer:
        peer.send(encode_control("open", *peer.opening.answer_untrusted(*peer.challenge())))
        return peer.control() == REJECTED
