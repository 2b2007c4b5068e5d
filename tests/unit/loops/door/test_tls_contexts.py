"""The TLS engine in memory, against OpenSSL's client: conformance, attacks, and cutting byte by byte."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from attackers.raw_tls import SIGNATURES, RawTls

from tlsrt.channels.tls.engine import HANDSHAKE_MAX, State, TlsEngine
from tlsrt.config import pki
from tlsrt.errors import ConfigError
from tlsrt.loops.door.tls_contexts import PROTOCOLS, server_context

INSTALL = b"i" * 16

COMPRESS_CERTIFICATE = 27


def memory_file(data: bytes, *, position: int = 0) -> int:
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    os.lseek(descriptor, position, os.SEEK_SET)
    _opened.append(descriptor)
    return descriptor


_opened: list[int] = []


@pytest.fixture(autouse=True)
def _close_memory_files() -> Iterator[None]:
    """The callee never closes them: they belong to whoever made them."""
    yield
    while _opened:
        os.close(_opened.pop())


@dataclass(frozen=True)
class Material:
    """Two CAs, a server and clients."""

    ca: pki.Issued
    other_ca: pki.Issued
    server: pki.Issued
    client: pki.Issued
    stranger: pki.Issued

    def context(self) -> ssl.SSLContext:
        return server_context(
            memory_file(self.server.certificate_pem, position=17),
            memory_file(self.server.key_pem, position=3),
            memory_file(self.ca.certificate_pem, position=9),
        )

    def client_context(self, issued: pki.Issued | None, alpn: tuple[str, ...] = PROTOCOLS) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.ca.certificate_pem.decode())
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if issued is not None:
            certificate, key = memory_file(issued.certificate_pem), memory_file(issued.key_pem)
            context.load_cert_chain(f"/proc/self/fd/{certificate}", f"/proc/self/fd/{key}")
        return context


@pytest.fixture(scope="module")
def material() -> Material:
    now = datetime.now(UTC)
    ca, other = pki.make_ca(INSTALL, now), pki.make_ca(INSTALL, now)
    return Material(
        ca, other, pki.issue_server(ca, INSTALL, "localhost", now), pki.issue_client(ca, INSTALL, "admin", now),
        pki.issue_client(other, INSTALL, "admin", now),
    )  # fmt: skip


class Peer:
    """OpenSSL's own client over memory, kept apart from our engine."""

    def __init__(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.error: ssl.SSLError | None = None
        self.open = False
        self.plaintext = b""

    def step(self, data: bytes) -> bytes:
        self.incoming.write(data)
        try:
            if not self.open:
                self.tls.do_handshake()
                self.open = True
            while piece := self.tls.read(65536):
                self.plaintext += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error
        return self.outgoing.read()


def shake(engine: TlsEngine, peer: Peer, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> bytes:
    """Let both talk until neither has more to say; return the plaintext that the engine got."""
    plaintext, to_engine = b"", peer.step(b"")
    while to_engine:
        for piece in cut(to_engine):
            plaintext += engine.receive_untrusted(piece)
        to_engine = peer.step(engine.take_outgoing())
    return plaintext


def said(error: ssl.SSLError) -> str:
    """What OpenSSL says; Python 3.11 has no `reason` for the newer alerts."""
    return str(error).upper().replace(" ", "_")


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def new_engine(material: Material) -> TlsEngine:
    return TlsEngine(material.context(), server_side=True, protocols=PROTOCOLS)


def connected(material: Material) -> tuple[TlsEngine, Peer]:
    engine, peer = new_engine(material), Peer(material.client_context(material.client))
    shake(engine, peer)
    assert engine.state is State.OPEN
    return engine, peer


def alert_of(data: bytes) -> tuple[int, int] | None:
    """The level and description of a plain alert record at the end of `data`."""
    return (data[-2], data[-1]) if data[-7:-2] == b"\x15\x03\x03\x00\x02" else None


@pytest.mark.parametrize("cut", [lambda data: [data], byte_by_byte])
def test_handshake_and_echo(material: Material, cut: Callable[[bytes], list[bytes]]) -> None:
    engine, peer = new_engine(material), Peer(material.client_context(material.client))
    assert shake(engine, peer, cut) == b""
    assert (engine.state, engine.protocol, peer.tls.version()) == (State.OPEN, "tlsrt/1", "TLSv1.3")
    assert engine.certificate == ssl.PEM_cert_to_DER_cert(material.client.certificate_pem.decode())
    message = os.urandom(100_000)
    view = memoryview(message)
    while view:
        view = view[peer.tls.write(view) :]
    assert shake(engine, peer, cut) == message
    engine.write(message)
    peer.step(engine.take_outgoing())
    assert peer.plaintext == message


def test_no_ticket_is_given(material: Material) -> None:
    _, peer = connected(material)
    assert peer.tls.session is None or not peer.tls.session.has_ticket


def test_no_compressed_certificate_is_asked_for(material: Material) -> None:
    """A stranger's certificate would be unpacked before anybody knows who sends it (RFC 8879)."""
    engine = TlsEngine(material.context(), server_side=True, protocols=PROTOCOLS)
    client = RawTls()
    engine.receive_untrusted(client.first())
    asked, offered = client.take(engine.take_outgoing()).certificate_request, set[int]()
    while asked:
        offered.add(int.from_bytes(asked[:2], "big"))
        asked = asked[4 + int.from_bytes(asked[2:4], "big") :]
    assert SIGNATURES in offered and COMPRESS_CERTIFICATE not in offered


def test_our_own_engine_is_a_client_too(material: Material) -> None:
    server = new_engine(material)
    client = TlsEngine(
        material.client_context(material.client), server_side=False, protocols=PROTOCOLS, server_name="localhost"
    )
    while data := client.take_outgoing():
        server.receive_untrusted(data)
        client.receive_untrusted(server.take_outgoing())
    assert (client.state, server.state) == (State.OPEN, State.OPEN)


def test_client_engine_refuses_another_name_and_another_ca(material: Material) -> None:
    foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    foreign.load_verify_locations(cadata=material.other_ca.certificate_pem.decode())
    foreign.set_alpn_protocols(list(PROTOCOLS))
    for context, name in ((material.client_context(material.client), "elsewhere.example"), (foreign, "localhost")):
        server = new_engine(material)
        client = TlsEngine(context, server_side=False, protocols=PROTOCOLS, server_name=name)
        server.receive_untrusted(client.take_outgoing())
        client.receive_untrusted(server.take_outgoing())
        assert client.state is State.FAILED and "certificate" in client.failure
        assert client.detail
        server.receive_untrusted(client.take_outgoing())
        assert server.state is State.FAILED and "alert" in server.failure


@pytest.mark.parametrize(
    ("who", "alert", "failure"),
    [
        ("nobody", "CERTIFICATE_REQUIRED", "tls_peer_did_not_return_a_certificate"),
        ("stranger", "UNKNOWN_CA", "tls_unable_to_get_local_issuer_certificate"),
        ("server", "CERTIFICATE", "tls_unsuitable_certificate_purpose"),  # may not be used as a client's
    ],
)
def test_client_certificates_refused_with_their_alert(material: Material, who: str, alert: str, failure: str) -> None:
    issued = None if who == "nobody" else getattr(material, who)
    engine, peer = new_engine(material), Peer(material.client_context(issued))
    shake(engine, peer)
    assert (engine.state, engine.failure) == (State.FAILED, failure)
    assert peer.error is not None and alert in said(peer.error)


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("tlsrt/2", "h2")])
@pytest.mark.parametrize("cut", [lambda data: [data], byte_by_byte])
def test_no_common_protocol_is_told(
    material: Material, alpn: tuple[str, ...], cut: Callable[[bytes], list[bytes]]
) -> None:
    engine, peer = new_engine(material), Peer(material.client_context(material.client, alpn))
    shake(engine, peer, cut)
    assert (engine.state, engine.failure) == (State.FAILED, "no_protocol")
    assert peer.error is not None and "NO_APPLICATION_PROTOCOL" in said(peer.error)


def test_tls12_is_told_the_version(material: Material) -> None:
    for alpn in ((), PROTOCOLS):
        context = material.client_context(material.client, alpn)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        engine, peer = new_engine(material), Peer(context)
        shake(engine, peer)
        assert (engine.state, engine.failure) == (State.FAILED, "tls_unsupported_protocol")
        assert peer.error is not None and "PROTOCOL_VERSION" in said(peer.error)


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.9\r\n",
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "empty record": b"\x16\x03\x01\x00\x00" * 40,
    "long record": b"\x16\x03\x01\x40\x01" + bytes(16385),
    "huge hello": b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380),
    "other handshake": b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
    "data first": b"\x17\x03\x03\x00\x10" + bytes(16),
    "version 2": b"\x16\x02\x00\x00\x04\x01\x00\x00\x00",
    "short hello": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    "sslv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37),
}


@pytest.mark.parametrize("cut", [lambda data: [data], byte_by_byte])
@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_answered_with_one_alert(
    material: Material, data: bytes, cut: Callable[[bytes], list[bytes]]
) -> None:
    engine = new_engine(material)
    answer = b""
    for piece in cut(data):
        assert engine.receive_untrusted(piece) == b""
        answer += engine.take_outgoing()
    assert engine.state is State.FAILED
    alert = alert_of(answer)
    assert len(answer) == 7 and alert is not None and alert[0] == 2


def test_every_flipped_bit_of_a_record_is_refused(material: Material) -> None:
    _, peer = connected(material)
    peer.tls.write(b"attack at dawn")
    length = len(peer.outgoing.read())
    for position in range(length):
        engine, peer = connected(material)
        peer.tls.write(b"attack at dawn")
        record = bytearray(peer.outgoing.read())
        record[position] ^= 1 << position % 8
        assert engine.receive_untrusted(bytes(record)) == b""
        if position in (3, 4) and engine.state is State.OPEN:  # a longer record: it waits for its end
            engine.receive_untrusted(bytes(16_500))
        assert engine.state is State.FAILED
        peer.step(engine.take_outgoing())
        assert peer.error is not None and "ALERT" in said(peer.error)


def test_what_came_before_a_forged_record_is_delivered(material: Material) -> None:
    engine, peer = connected(material)
    peer.tls.write(b"genuine")
    assert engine.receive_untrusted(peer.outgoing.read() + b"\x17\x03\x03\x00\x20" + bytes(32)) == b"genuine"
    assert engine.state is State.FAILED
    assert engine.receive_untrusted(b"more") == b""


def test_close_notify_from_the_peer_is_answered(material: Material) -> None:
    engine, peer = connected(material)
    peer.tls.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.unwrap()
    assert engine.receive_untrusted(peer.outgoing.read()) == b"last"
    assert engine.state is State.CLOSED and engine.peer_closed
    peer.incoming.write(engine.take_outgoing())
    peer.tls.unwrap()
    engine.receive_eof()
    assert engine.state is State.CLOSED


def test_our_close_sends_close_notify_once(material: Material) -> None:
    engine, peer = connected(material)
    engine.write(b"bye")
    engine.close()
    engine.close()
    engine.write(b"nothing")
    peer.step(engine.take_outgoing())
    assert peer.plaintext == b"bye" and (peer.error is None or isinstance(peer.error, ssl.SSLZeroReturnError))
    assert peer.tls.read(1) == b""
    assert engine.take_outgoing() == b""


def test_a_cut_is_not_a_close(material: Material) -> None:
    engine, _ = connected(material)
    engine.receive_eof()
    assert (engine.state, engine.failure) == (State.FAILED, "cut")
    waiting = new_engine(material)
    waiting.receive_eof()
    assert waiting.state is State.FAILED


def test_giving_up_on_half_a_hello_tells_the_peer(material: Material) -> None:
    engine = new_engine(material)
    engine.receive_untrusted(Peer(material.client_context(None)).step(b"")[:50])
    engine.fail("handshake_timeout")
    assert alert_of(engine.take_outgoing()) == (1, 0)
    silent = new_engine(material)
    silent.fail("handshake_timeout")
    assert silent.take_outgoing() == b""


def test_the_handshake_is_bounded(material: Material) -> None:
    engine, peer = new_engine(material), Peer(material.client_context(material.client))
    engine.receive_untrusted(peer.step(b""))
    engine.take_outgoing()
    compatibility = b"\x14\x03\x03\x00\x01\x01"  # change_cipher_spec: ignored during a TLS 1.3 handshake
    for _ in range(HANDSHAKE_MAX // len(compatibility) + 2):
        engine.receive_untrusted(compatibility)
    assert engine.state is State.FAILED


def test_no_tls_state_before_the_hello_is_whole(material: Material) -> None:
    engine = new_engine(material)
    hello = Peer(material.client_context(None)).step(b"")
    engine.receive_untrusted(hello[:-1])
    assert engine._object is None
    engine.receive_untrusted(hello[-1:])
    assert engine._object is not None


def test_a_pair_that_does_not_match_is_refused(material: Material) -> None:
    ca = memory_file(material.ca.certificate_pem)
    certificate, key = memory_file(material.server.certificate_pem), memory_file(material.client.key_pem)
    with pytest.raises(ConfigError, match="do not belong together"):
        server_context(certificate, key, ca)
    with pytest.raises(ConfigError, match="cannot load the server certificate"):
        server_context(memory_file(b"nothing"), key, ca)
    with pytest.raises(ConfigError, match="cannot load the server certificate"):
        server_context(memory_file(b""), memory_file(b""), ca)


@pytest.mark.parametrize("ca", [b"", b"nothing", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_client_ca_that_is_none_is_refused(material: Material, ca: bytes) -> None:
    with pytest.raises(ConfigError, match="client CA"):
        server_context(
            memory_file(material.server.certificate_pem), memory_file(material.server.key_pem), memory_file(ca)
        )


def test_an_encrypted_key_is_refused_without_asking(material: Material) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(material.server.key_pem, None)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(ConfigError, match="without a password"):
        server_context(
            memory_file(material.server.certificate_pem), memory_file(pem), memory_file(material.ca.certificate_pem)
        )
