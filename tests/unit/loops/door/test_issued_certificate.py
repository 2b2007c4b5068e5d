"""The door's second certificate and challenges: which client is shown what, over real handshakes in memory."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from hosts.door_host import Site, memory_file

from tlsrt.channels.session.enrolment import PROTOCOL as ENROLMENT
from tlsrt.channels.tls.engine import Choose, State, TlsEngine
from tlsrt.config import pki
from tlsrt.loops.door.issued_certificate import CHALLENGE, IssuedCertificates
from tlsrt.loops.door.service import UnauthenticatedHandlers
from tlsrt.supervisor.authority.door.issued_chain import challenge_certificate, make_key, pem_key

NOW = datetime.now(UTC)
PROTOCOLS = ("tlsrt/1", "http/1.1")


class Server:
    """What a TLS server is told."""

    def __init__(self) -> None:
        self.choose: Choose | None = None
        self.strangers: dict[str, ssl.SSLContext] = {}

    def choose_context(self, choose: Choose | None) -> None:
        self.choose = choose

    def take_strangers(self, protocol: str, handlers: UnauthenticatedHandlers | None) -> None:
        self.strangers.pop(protocol, None)
        if handlers is not None and handlers.context is not None:
            self.strangers[protocol] = handlers.context


class Door:
    """A door with files of its own, and beside them whatever a test gives it."""

    def __init__(self, folder: Path) -> None:
        self.site, self.server = Site(), Server()
        self.context = self.site.context()
        self.context.set_alpn_protocols(list(PROTOCOLS))
        self.issued = IssuedCertificates()
        self.client = folder / "client.pem"
        self.client.write_bytes(self.site.bundle.certificate_pem + self.site.bundle.key_pem)
        self.issued.attach(self.server, self.context.get_ca_certs(binary_form=True))  # type: ignore[arg-type]

    def pair(self, *names: str) -> tuple[int, int]:
        made = pki.issue_server(pki.make_ca(b"o" * 16, NOW), b"o" * 16, names[0], NOW, names)
        return memory_file(made.certificate_pem), memory_file(made.key_pem)

    def shown(self, alpn: list[str], name: str | None) -> tuple[str, str | None]:
        """Return the issuer of what a client is shown, or the failure, and the protocol."""
        client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
        client_context.set_alpn_protocols(alpn)
        client_context.load_cert_chain(self.client)
        client = TlsEngine(client_context, server_side=False, protocols=(), server_name=name)
        server = TlsEngine(
            self.context, server_side=True, protocols=PROTOCOLS, strangers=self.server.strangers,
            choose=self.server.choose,
        )  # fmt: skip
        for _ in range(4):
            server.receive_untrusted(client.take_outgoing())
            client.receive_untrusted(server.take_outgoing())
        if client.state is not State.OPEN:
            return server.failure, None
        certificate = x509.load_der_x509_certificate(client.certificate)
        return certificate.issuer.rfc4514_string(), client.protocol


ISSUED = f"CN=tlsrt {(b'o' * 16).hex()[:8]} CA"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    yield door
    door.issued.clear()
    door.site.listener.close()


def own(door: Door) -> str:
    return door.shown(["tlsrt/1"], "localhost")[0]


def test_who_asks_for_its_name_over_http_is_shown_it_and_clients_of_tlsrt_never(door: Door) -> None:
    files = own(door)
    assert files != ISSUED
    door.issued.set(7, *door.pair("kettle.example.org"))
    assert door.shown(["h2", "http/1.1"], "Kettle.example.org") == (ISSUED, "http/1.1")
    assert door.shown(["http/1.1"], "tea.example.org") == (files, "http/1.1")
    assert door.shown(["tlsrt/1"], "kettle.example.org") == (files, "tlsrt/1")
    assert door.shown(["tlsrt/1", "http/1.1"], "kettle.example.org")[0] == files
    assert door.shown(["http/1.1"], None)[0] == ISSUED  # it has addresses
    assert "kettle.example.org" in door.issued.names
    assert door.server.choose is not None and door.server.choose((), b"") is None  # what was not read offers nothing
    door.issued.clear()
    assert door.shown(["http/1.1"], "kettle.example.org")[0] == files and door.issued.names == ()


def test_a_pair_that_does_not_fit_is_refused_and_the_one_before_stays(door: Door) -> None:
    door.issued.set(7, *door.pair("kettle.example.org"))
    certificate, _ = door.pair("kettle.example.org")
    _, key = door.pair("kettle.example.org")
    assert "do not belong together" in door.issued.try_pair(certificate, key)
    assert door.issued.try_pair(*door.pair("kettle.example.org")) == ""
    assert door.shown(["http/1.1"], "kettle.example.org")[0] == ISSUED


def challenge() -> tuple[int, int]:
    key = make_key()
    return (
        memory_file(challenge_certificate(key, "kettle.example.org", b"d" * 32, 5, NOW)), memory_file(pem_key(key)),
    )  # fmt: skip


def test_a_challenge_is_shown_while_there_is_one(door: Door) -> None:
    assert door.shown([CHALLENGE], "kettle.example.org") == ("no_protocol", None)
    assert door.issued.show_challenge(*challenge()) == ""
    assert door.shown([CHALLENGE], "kettle.example.org") == ("", CHALLENGE)
    assert door.shown(["tlsrt/1"], "kettle.example.org")[1] == "tlsrt/1"
    assert door.shown([CHALLENGE, "http/1.1"], "kettle.example.org")[1] == "http/1.1"  # RFC 8737: alone, or not at all
    assert door.shown([ENROLMENT], "kettle.example.org")[0] == "no_protocol"
    door.issued.hide_challenge()
    assert door.shown([CHALLENGE], "kettle.example.org") == ("no_protocol", None)


def test_what_is_no_challenge_is_said(door: Door) -> None:
    assert door.issued.show_challenge(memory_file(b"x"), memory_file(b"y"))
    assert not door.server.strangers
