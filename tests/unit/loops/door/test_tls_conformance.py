"""What RFC 8446 wants of a server, message by message and record by record, against the door's engine in memory.

Every case is given to the engine in one piece and byte by byte: both must end alike, with the same alert.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from attackers.raw_tls import (
    ALERT,
    ALPN,
    CCS,
    CERTIFICATE,
    DATA,
    FINISHED,
    GROUPS,
    HANDSHAKE,
    KEY_SHARE,
    KEY_UPDATE,
    P256,
    SIGNATURES,
    VERIFY,
    VERSIONS,
    X25519,
    RawTls,
    message,
    protocols,
    record,
    vector,
)
from hosts.door_host import memory_file

from tlsrt.channels.tls.client_hello import X25519MLKEM768
from tlsrt.channels.tls.engine import HANDSHAKE_MAX, State, TlsEngine
from tlsrt.config import pki
from tlsrt.loops.door.tls_contexts import PROTOCOLS, server_context

INSTALL = b"i" * 16
CLOSE_NOTIFY, UNEXPECTED, BAD_MAC, OVERFLOW, FAILURE, BAD_CERTIFICATE, ILLEGAL = 0, 10, 20, 22, 40, 42, 47
DECODE, DECRYPT, VERSION, MISSING, REQUIRED, NO_PROTOCOL = 50, 51, 70, 109, 116, 120
Pieces = list[bytes]


@pytest.fixture(scope="module")
def pair() -> Iterator[SimpleNamespace]:
    """Makes engines, and clients for them."""
    now = datetime.now(UTC)
    ca = pki.make_ca(INSTALL, now)
    server, client = pki.issue_server(ca, INSTALL, "localhost", now), pki.issue_client(ca, INSTALL, "admin", now)
    files = [memory_file(data) for data in (server.certificate_pem, server.key_pem, ca.certificate_pem)]
    context = server_context(files[0], files[1], files[2])
    yield SimpleNamespace(
        engine=lambda **more: TlsEngine(context, server_side=True, protocols=PROTOCOLS, **more),
        client=lambda **more: RawTls(client.certificate_pem, client.key_pem, **more),
    )
    for descriptor in files:
        os.close(descriptor)


def feed(engine: TlsEngine, data: bytes, *, whole: bool = True) -> bytes:
    if whole:
        return engine.receive_untrusted(data)
    return b"".join(engine.receive_untrusted(data[at : at + 1]) for at in range(len(data)))


def half(pair: SimpleNamespace, **more: Any) -> tuple[TlsEngine, RawTls]:
    """A connection after the server's flight."""
    engine, client = pair.engine(**more), pair.client()
    engine.receive_untrusted(client.first())
    client.take(engine.take_outgoing())
    return engine, client


def opened(pair: SimpleNamespace) -> tuple[TlsEngine, RawTls]:
    engine, client = half(pair)
    engine.receive_untrusted(client.second())
    assert engine.state is State.OPEN and engine.take_outgoing() == b""
    return engine, client


def ended(engine: TlsEngine, client: RawTls) -> list[int]:
    """Return the alerts that were sent; whatever has one has ended."""
    client.take(engine.take_outgoing())
    assert all(level == 2 for level, description in client.alerts if description != CLOSE_NOTIFY)
    assert (engine.state in (State.HANDSHAKE, State.OPEN)) == (client.alerts == []) or engine.peer_closed
    if client.alerts:
        assert engine.receive_untrusted(b"\x17\x03\x03\x00\x20" + bytes(32)) == engine.take_outgoing() == b""
    return [description for _, description in client.alerts]


# -- the first hello -------------------------------------------------------------------------------------------

SHARE = b"\0\x1d" + vector(os.urandom(32), 2)
HYBRID = X25519MLKEM768.to_bytes(2, "big")
SNI = vector(b"\0" + vector(b"localhost", 2), 2)


def hello(**changes: Any) -> Callable[[RawTls], bytes]:
    """A hello with other extensions (`with_`), without some (`without`), or with other fields."""

    def make(client: RawTls) -> bytes:
        fields = dict(changes)
        for kind in fields.pop("without", ()):
            del client.hello.extensions[kind]
        client.hello.extensions.update(fields.pop("with_", {}))
        return client.first(**fields)

    return make


def framed(frame: Callable[[bytes], bytes]) -> Callable[[RawTls], bytes]:
    """A hello in other records."""
    return lambda client: frame(client.first()[5:])


def split(between: bytes) -> Callable[[RawTls], bytes]:
    return framed(lambda data: record(HANDSHAKE, data[:40]) + between + record(HANDSHAKE, data[40:]))


GOES_ON: list[int] = []
HELLOS: dict[str, tuple[Callable[[RawTls], bytes], list[int]]] = {
    "honest": (hello(), GOES_ON),
    "no key share yet": (hello(with_={KEY_SHARE: b"\0\0"}), GOES_ON),  # asked for by HelloRetryRequest
    "key_share is missing": (hello(without=[KEY_SHARE]), [MISSING]),
    "supported_groups is missing": (hello(without=[GROUPS]), [MISSING]),
    "signature_algorithms is missing": (hello(without=[SIGNATURES]), [MISSING]),
    "supported_versions is missing": (hello(without=[VERSIONS]), [VERSION]),
    "no ALPN": (hello(without=[ALPN]), [NO_PROTOCOL]),
    "another ALPN": (hello(with_={ALPN: protocols(["h2", "tlsrt/2"])}), [NO_PROTOCOL]),
    "one of two ALPN": (hello(with_={ALPN: protocols(["h2", "tlsrt/1"])}), GOES_ON),
    "ALPN without names": (hello(with_={ALPN: b"\0\0"}), [DECODE]),
    "ALPN with an empty name": (hello(with_={ALPN: vector(b"\0", 2)}), [DECODE]),
    "ALPN of another length": (hello(with_={ALPN: b"\0\xff\x07tlsrt/1"}), [DECODE]),
    "ALPN with a tail": (hello(with_={ALPN: protocols(["tlsrt/1"]) + b"\0"}), [DECODE]),
    "another ALPN, cut short": (hello(with_={ALPN: b"\0\x05\x02h2"}), [DECODE]),
    "ALPN twice": (hello(more=((ALPN, protocols(["h2"])),)), [ILLEGAL]),
    "server_name twice": (hello(more=((0, SNI), (0, SNI))), [ILLEGAL]),
    "server_name cut short": (hello(more=((0, b"\0"),)), [DECODE]),
    "only versions before 1.3": (hello(with_={VERSIONS: b"\x04\x03\x03\x03\x02"}), [VERSION]),
    "only a draft": (hello(with_={VERSIONS: b"\x02\x7f\x1c"}), [VERSION]),
    "GREASE and 1.3": (hello(with_={VERSIONS: b"\x04\x0a\x0a\x03\x04"}), GOES_ON),
    "1.2 before 1.3": (hello(with_={VERSIONS: b"\x04\x03\x03\x03\x04"}), GOES_ON),
    "versions of odd length": (hello(with_={VERSIONS: b"\x03\x03\x04\x03"}), [DECODE]),
    "no versions": (hello(with_={VERSIONS: b"\0"}), [DECODE]),
    "versions without a length": (hello(with_={VERSIONS: b""}), [DECODE]),
    "versions with a tail": (hello(with_={VERSIONS: b"\x02\x03\x04\0"}), [DECODE]),
    "legacy version 1.3": (hello(version=b"\x03\x04"), GOES_ON),  # only supported_versions counts
    "legacy version SSL 3.0": (hello(version=b"\x03\x00"), [VERSION]),
    "legacy version SSL 2.0": (hello(version=b"\x02\x00"), [VERSION]),
    "no suites": (hello(suites=b""), [DECODE]),
    "an odd length of suites": (hello(suites=b"\x13\x01\x00"), [DECODE]),
    "unknown suites": (hello(suites=b"\x13\x99\xc0\x2f"), [FAILURE]),
    "CCM only": (hello(suites=b"\x13\x04\x13\x05"), [FAILURE]),
    "no compression method": (hello(compressions=b""), [DECODE]),
    "deflate too": (hello(compressions=b"\x01\x00"), [ILLEGAL]),
    "deflate only": (hello(compressions=b"\x01"), [ILLEGAL]),
    "a session id of 33 bytes": (hello(session=bytes(33)), [DECODE]),
    "no session id": (hello(session=b""), GOES_ON),
    "a tail": (hello(tail=b"\0"), [DECODE]),
    "unknown extensions": (hello(more=((0xFAFA, bytes(100)), (0x1234, b""))), GOES_ON),
    "a large hello": (hello(more=tuple((0x7000 + at, bytes(1000)) for at in range(60))), GOES_ON),
    "a large hello without ALPN": (
        hello(without=[ALPN], more=tuple((0x7000 + at, bytes(1000)) for at in range(30))), [NO_PROTOCOL],
    ),
    "signatures that we cannot make": (hello(with_={SIGNATURES: vector(b"\x08\x07", 2)}), [FAILURE]),
    "unknown groups": (hello(with_={GROUPS: vector(b"\x99\x99", 2), KEY_SHARE: b"\0\0"}), [FAILURE]),
    "finite fields only": (hello(with_={GROUPS: vector(b"\x01\x00\x01\x01", 2), KEY_SHARE: b"\0\0"}), [FAILURE]),
    "P-521 only": (hello(with_={GROUPS: vector(b"\0\x19", 2), KEY_SHARE: b"\0\0"}), [FAILURE]),
    "a share of another length": (hello(with_={KEY_SHARE: vector(b"\0\x1d" + vector(bytes(31), 2), 2)}), [ILLEGAL]),
    "a share that every secret agrees with": (
        hello(with_={KEY_SHARE: vector(b"\0\x1d" + vector(bytes(32), 2), 2)}), [ILLEGAL],
    ),
    "a share of a group that was not offered": (
        hello(with_={GROUPS: vector(P256.to_bytes(2, "big"), 2), KEY_SHARE: vector(SHARE, 2)}), [ILLEGAL],
    ),
    "a point that is not on the curve": (
        hello(with_={KEY_SHARE: vector(b"\0\x17" + vector(b"\x04" + b"\x07" * 64, 2), 2)}), [ILLEGAL],
    ),
    "an ML-KEM key out of range": (
        hello(with_={
            GROUPS: vector(HYBRID, 2), KEY_SHARE: vector(HYBRID + vector(b"\xff" * 1184 + bytes(32), 2), 2),
        }), [ILLEGAL],
    ),
    "an ML-KEM key that is short": (
        hello(with_={GROUPS: vector(HYBRID, 2), KEY_SHARE: vector(HYBRID + vector(bytes(1215), 2), 2)}), [ILLEGAL],
    ),
    "a PSK without modes": (
        hello(more=((41, vector(vector(b"x" * 32, 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2)),)), [MISSING],
    ),
    "a PSK that nobody knows": (
        hello(more=(
            (45, b"\x01\x01"), (41, vector(vector(b"x" * 32, 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2)),
        )), GOES_ON,
    ),
    "a PSK that is not the last": (
        hello(more=(
            (45, b"\x01\x01"), (41, vector(vector(b"x" * 32, 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2)),
            (0xFAFA, b""),
        )), [ILLEGAL],
    ),
    "early data": (hello(more=((42, b""),)), GOES_ON),
    "an invalid max_fragment_length": (hello(more=((1, b"\x09"),)), [ILLEGAL]),
    "in one record a byte": (framed(lambda data: b"".join(record(22, data[at : at + 1]) for at in range(len(data)))),
                             GOES_ON),
    "cut after its head": (framed(lambda data: record(22, data[:4]) + record(22, data[4:])), GOES_ON),
    "record version 3.0": (framed(lambda data: record(22, data, b"\x03\x00")), GOES_ON),  # to be ignored
    "record version 3.255": (framed(lambda data: record(22, data, b"\x03\xff")), GOES_ON),
    "record version 2.1": (framed(lambda data: record(22, data, b"\x02\x01")), [VERSION]),
    "something after it in its record": (framed(lambda data: record(22, data + b"\x14\0\0\0")), [UNEXPECTED]),
    "an empty record in it": (split(record(HANDSHAKE, b"")), [UNEXPECTED]),
    "a change_cipher_spec in it": (split(record(CCS, b"\x01")), [UNEXPECTED]),
    "an alert in it": (split(record(ALERT, b"\x01\x5a")), [UNEXPECTED]),
    "data in it": (split(record(DATA, bytes(30))), [UNEXPECTED]),
    "change_cipher_spec first": (lambda client: record(CCS, b"\x01") + client.first(), [UNEXPECTED]),
    "an alert first": (lambda client: record(ALERT, b"\x02\x28"), [UNEXPECTED]),
    "data first": (lambda client: record(DATA, bytes(40)), [UNEXPECTED]),
    "a heartbeat first": (lambda client: record(24, b"\x01\x40\x00"), [UNEXPECTED]),
    "an unknown record first": (lambda client: record(99, bytes(40)), [UNEXPECTED]),
    "a Finished first": (lambda client: record(22, message(FINISHED, bytes(32))), [UNEXPECTED]),
    "a record of 16385 bytes": (lambda client: record(22, b"\x01\0\x50\0" + bytes(16381)), [OVERFLOW]),
    "a record of 65535 bytes": (lambda client: record(22, b"\x01\0\xff\xfb" + bytes(65531)), [OVERFLOW]),
    "a hello of 16 MiB": (lambda client: record(22, b"\x01\xff\xff\xff" + bytes(600)), [ILLEGAL]),
    "a hello of no bytes": (lambda client: record(22, b"\x01\0\0\0"), [DECODE]),
}  # fmt: skip


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytes"])
@pytest.mark.parametrize(("make", "alerts"), HELLOS.values(), ids=HELLOS)
def test_a_first_hello(pair: SimpleNamespace, make: Callable[[RawTls], bytes], alerts: list[int], whole: bool) -> None:
    engine, client = pair.engine(), pair.client()
    feed(engine, make(client), whole=whole)
    out = engine.take_outgoing()
    if alerts:
        assert out == bytes((21, 3, 3, 0, 2, 2, alerts[0])), "one alert, in clear, and nothing else"
        assert engine.state is State.FAILED
    else:
        assert engine.state is State.HANDSHAKE and out[5] == 2, "a ServerHello"


@pytest.mark.parametrize("share", [b"\0\0", vector(b"\0\x1d" + vector(os.urandom(32), 2), 2)])
def test_the_hybrid_group_is_asked_for_where_it_is_known(pair: SimpleNamespace, share: bytes) -> None:
    """Who knows it but brings another share is asked for it; and who is asked is asked once."""
    engine, client = pair.engine(groups=(X25519MLKEM768,)), pair.client()
    client.hello.extensions[GROUPS] = vector(HYBRID + X25519.to_bytes(2, "big"), 2)
    client.hello.extensions[KEY_SHARE] = share
    engine.receive_untrusted(client.first())
    client.take(engine.take_outgoing())
    assert client.retried and engine.choice is not None and engine.choice.group == X25519MLKEM768
    client.hello.extensions[KEY_SHARE] = vector(SHARE, 2)  # not what was asked for
    engine.receive_untrusted(client.first())
    assert ended(engine, client) == [ILLEGAL]


def test_a_group_that_openssl_would_take_and_we_do_not(pair: SimpleNamespace) -> None:
    """The choice is looked at in the ServerHello too, as a hello may be too large to be held back."""
    engine, client = pair.engine(groups=(X25519MLKEM768,)), pair.client()
    engine.receive_untrusted(client.first(more=tuple((0x7000 + at, bytes(1000)) for at in range(30))))
    assert ended(engine, client) == [FAILURE] and engine.failure == "no_group"
    engine, client = pair.engine(suites=(0x1302,)), pair.client()
    engine.receive_untrusted(client.first(more=tuple((0x7000 + at, bytes(1000)) for at in range(30))))
    assert ended(engine, client) == [FAILURE] and engine.failure == "no_suite"


def test_a_second_hello(pair: SimpleNamespace) -> None:
    engine, client = pair.engine(), pair.client()
    share = client.hello.extensions[KEY_SHARE]
    client.hello.extensions[KEY_SHARE] = b"\0\0"
    engine.receive_untrusted(client.first())
    client.take(engine.take_outgoing())
    assert client.retried
    client.hello.extensions[KEY_SHARE] = share
    engine.receive_untrusted(record(CCS, b"\x01") + client.first())
    client.take(engine.take_outgoing())
    engine.receive_untrusted(client.second())
    assert engine.state is State.OPEN and engine.choice == (X25519, 0x1301, False)


# -- the client's second flight --------------------------------------------------------------------------------


def flipped(kind: int, position: int) -> Callable[[RawTls], Pieces]:
    """The flight with one bit changed in the message of that kind."""

    def make(client: RawTls) -> Pieces:
        messages = [bytearray(one) for one in client.flight()]
        next(one for one in messages if one[0] == kind)[position] ^= 1
        return [client.seal(HANDSHAKE, b"".join(messages))]

    return make


def finished(change: Callable[[bytes], bytes]) -> Callable[[RawTls], Pieces]:
    """The flight with another Finished."""

    def make(client: RawTls) -> Pieces:
        *before, last = client.flight()
        return [client.seal(HANDSHAKE, b"".join(before) + change(last))]

    return make


def certificate(make_body: Callable[[RawTls], bytes]) -> Callable[[RawTls], Pieces]:
    return lambda client: [client.seal(HANDSHAKE, message(CERTIFICATE, make_body(client)))]


def verified(scheme: bytes) -> Callable[[RawTls], Pieces]:
    def make(client: RawTls) -> Pieces:
        shown = client.certificate_message()
        return [client.seal(HANDSHAKE, shown + client.verify_message(client.transcript + shown, scheme))]

    return make


def nobody(client: RawTls) -> Pieces:
    shown = client.certificate_message(b"")
    return [client.seal(HANDSHAKE, shown + client.finished_message(client.transcript + shown))]


def unproved(client: RawTls) -> Pieces:
    shown = client.certificate_message()
    return [client.seal(HANDSHAKE, shown + client.finished_message(client.transcript + shown))]


def entry(client: RawTls) -> bytes:
    return vector(client.certificate, 3) + b"\0\0"


def before(*pieces: Callable[[RawTls], bytes]) -> Callable[[RawTls], Pieces]:
    """Something, and then an honest flight."""
    return lambda client: [*(piece(client) for piece in pieces), client.second()]


def inside(between: bytes) -> Callable[[RawTls], Pieces]:
    """Something in the middle of a message of the flight."""

    def make(client: RawTls) -> Pieces:
        data = b"".join(client.flight())
        return [client.seal(HANDSHAKE, data[:50]), between, client.seal(HANDSHAKE, data[50:])]

    return make


def bytewise(client: RawTls) -> Pieces:
    data = b"".join(client.flight())
    return [client.seal(HANDSHAKE, data[at : at + 1]) for at in range(len(data))]


def damaged(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


IGNORED = record(CCS, b"\x01")
FLIGHTS: dict[str, tuple[Callable[[RawTls], Pieces], list[int]]] = {
    "honest": (before(), []),
    "padded": (lambda client: [client.seal(HANDSHAKE, b"".join(client.flight()), 5000)], []),
    "in one record a byte": (bytewise, []),
    "after a change_cipher_spec": (before(lambda client: IGNORED), []),
    "with a change_cipher_spec in a message": (inside(IGNORED), []),
    "after forty of them": (before(*[lambda client: IGNORED] * 40), [UNEXPECTED]),
    "after another change_cipher_spec": (before(lambda client: record(CCS, b"\x02")), [UNEXPECTED]),
    "after a long change_cipher_spec": (before(lambda client: record(CCS, b"\x01\x01")), [UNEXPECTED]),
    "after an empty change_cipher_spec": (before(lambda client: record(CCS, b"")), [UNEXPECTED]),
    "after an encrypted change_cipher_spec": (before(lambda client: client.seal(CCS, b"\x01")), [UNEXPECTED]),
    "after user_canceled": (before(lambda client: client.seal(ALERT, b"\x01\x5a")), []),
    "a bit of Finished": (flipped(FINISHED, 10), [DECRYPT]),
    "a short Finished": (finished(lambda last: message(FINISHED, last[4:-1])), [DECODE]),
    "a long Finished": (finished(lambda last: message(FINISHED, last[4:] + b"\0")), [DECODE]),
    "an empty Finished": (finished(lambda last: message(FINISHED, b"")), [DECODE]),
    "a Finished of 16 MiB": (finished(lambda last: b"\x14\xff\xff\xff" + last), [ILLEGAL]),
    "another message for Finished": (finished(lambda last: message(8, last[4:])), [UNEXPECTED]),
    "a bit of the signature": (flipped(VERIFY, 20), [DECRYPT]),
    "a bit of the certificate": (flipped(CERTIFICATE, 200), [BAD_CERTIFICATE]),
    "no certificate": (nobody, [REQUIRED]),
    "a certificate without proof": (unproved, [UNEXPECTED]),
    "Finished only": (lambda client: [client.seal(HANDSHAKE, client.finished_message(client.transcript))],
                      [UNEXPECTED]),
    "a certificate that is none": (certificate(lambda client: b"\0" + vector(vector(b"no" * 9, 3) + b"\0\0", 3)),
                                   [DECODE]),
    "a certificate list cut short": (certificate(lambda client: b"\0\0\0\x10abc"), [DECODE]),
    "a certificate list with a tail": (certificate(lambda client: b"\0" + vector(entry(client), 3) + b"\0"), [DECODE]),
    "a context that was not asked for": (certificate(lambda client: b"\x01x" + vector(entry(client), 3)), [DECODE]),
    "a signature by a scheme of another key": (verified(b"\x08\x04"), [ILLEGAL]),
    "a signature with SHA-1": (verified(b"\x02\x03"), [ILLEGAL]),
    "in clear": (lambda client: [record(HANDSHAKE, b"".join(client.flight()))], [UNEXPECTED]),
    "data before Finished": (lambda client: [client.seal(DATA, b"too early")], [UNEXPECTED]),
    "another hello": (lambda client: [client.seal(HANDSHAKE, message(1, bytes(40)))], [UNEXPECTED]),
    "another hello in clear": (lambda client: [record(HANDSHAKE, message(1, bytes(40)))], [UNEXPECTED]),
    "an empty handshake record": (before(lambda client: client.seal(HANDSHAKE, b"")), [UNEXPECTED]),
    "padding alone": (before(lambda client: client.seal(0, b"", 20)), [UNEXPECTED]),
    "an unknown content": (before(lambda client: client.seal(25, b"abc")), [UNEXPECTED]),
    "a forged record": (lambda client: [damaged(client.second())], [BAD_MAC]),
    "a record shorter than its tag": (before(lambda client: record(DATA, bytes(10))), [BAD_MAC]),
    "an empty encrypted record": (before(lambda client: record(DATA, b"")), [BAD_MAC]),
    "a record of 2^14 + 257": (before(lambda client: record(DATA, bytes(16384 + 257))), [OVERFLOW]),
    "a plaintext of 2^14 + 1": (before(lambda client: client.seal(HANDSHAKE, bytes(16385))), [OVERFLOW]),
}  # fmt: skip


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytes"])
@pytest.mark.parametrize(("make", "alerts"), FLIGHTS.values(), ids=FLIGHTS)
def test_a_second_flight(
    pair: SimpleNamespace, make: Callable[[RawTls], Pieces], alerts: list[int], whole: bool
) -> None:
    engine, client = half(pair)
    for piece in make(client):
        feed(engine, piece, whole=whole)
    assert ended(engine, client) == alerts
    assert engine.state is (State.FAILED if alerts else State.OPEN)
    assert all(client.encrypted), "keys are in use, so the alert is encrypted"


def test_more_certificates_than_anybody_has(pair: SimpleNamespace) -> None:
    engine, client = half(pair)
    data = message(CERTIFICATE, b"\0" + vector(entry(client) * 200, 3))
    for at in range(0, len(data), 16000):
        engine.receive_untrusted(client.seal(HANDSHAKE, data[at : at + 16000]))
    assert ended(engine, client) == [ILLEGAL]


def test_a_handshake_that_does_not_end_is_ended_with_an_alert(pair: SimpleNamespace) -> None:
    for within, alert in ((0, OVERFLOW), (9000, BAD_MAC)):  # at the end of a record, and within one
        engine, client = half(pair)
        shown = client.certificate_message()
        pieces = b"".join(client.seal(HANDSHAKE, shown[at : at + 1], 16_000) for at in range(20))
        engine.receive_untrusted(pieces[: HANDSHAKE_MAX // 16_023 * 16_023])
        assert engine.state is State.HANDSHAKE
        engine.receive_untrusted(pieces[HANDSHAKE_MAX // 16_023 * 16_023 :][: within or 16_023])
        assert engine.failure == "handshake_too_long"
        assert ended(engine, client) == [alert]


# -- once it is open -------------------------------------------------------------------------------------------


def sealed(*records: tuple[int, bytes]) -> Callable[[RawTls], Pieces]:
    return lambda client: [client.seal(kind, payload) for kind, payload in records]


def then(*pieces: Callable[[RawTls], bytes]) -> Callable[[RawTls], Pieces]:
    return lambda client: [piece(client) for piece in pieces]


def say(text: bytes = b"x", padding: int = 0) -> Callable[[RawTls], bytes]:
    return lambda client: client.seal(DATA, text, padding)


def twice(client: RawTls) -> Pieces:
    return [client.seal(DATA, b"x")] * 2


def old_keys(client: RawTls) -> Pieces:
    keys = client.writing
    assert keys is not None
    return [client.update(), keys.seal(DATA, b"x")]


OPEN: dict[str, tuple[Callable[[RawTls], Pieces], bytes, list[int]]] = {
    "data": (sealed((DATA, b"x")), b"x", []),
    "data with padding": (then(say(padding=1000)), b"x", []),
    "16384 bytes": (sealed((DATA, b"x" * 16384)), b"x" * 16384, []),
    "no data": (sealed((DATA, b""), (DATA, b"x")), b"x", []),
    "no data, padded": (then(say(b"", 1000), say()), b"x", []),
    "ten times no data": (then(*[say(b"")] * 10, say()), b"x", []),
    "a thousand times no data": (then(*[say(b"")] * 1000), b"", [UNEXPECTED]),
    "16385 bytes": (sealed((DATA, b"x" * 16385)), b"", [OVERFLOW]),
    "2^14 + 257 of ciphertext": (then(lambda client: record(DATA, bytes(16384 + 257))), b"", [OVERFLOW]),
    "65535 of ciphertext": (then(lambda client: record(DATA, bytes(65535))), b"", [OVERFLOW]),
    "an empty handshake record": (sealed((HANDSHAKE, b"")), b"", [UNEXPECTED]),
    "an empty alert": (sealed((ALERT, b"")), b"", [UNEXPECTED]),
    "half an alert": (sealed((ALERT, b"\x01")), b"", [UNEXPECTED]),
    "an alert and a half": (sealed((ALERT, b"\x01\0\0")), b"", [UNEXPECTED]),
    "two alerts in a record": (sealed((ALERT, b"\x01\x5a\x01\0")), b"", [UNEXPECTED]),
    "padding alone": (then(lambda client: client.seal(0, b"", 16000)), b"", [UNEXPECTED]),
    "a heartbeat": (sealed((24, b"\x01\x40\0")), b"", [UNEXPECTED]),
    "an unknown content": (sealed((25, b"abc")), b"", [UNEXPECTED]),
    "an encrypted change_cipher_spec": (sealed((CCS, b"\x01")), b"", [UNEXPECTED]),
    "a change_cipher_spec": (then(lambda client: IGNORED), b"", [UNEXPECTED]),
    "a handshake in clear": (then(lambda client: record(HANDSHAKE, bytes(4))), b"", [UNEXPECTED]),
    "close_notify in clear": (then(lambda client: record(ALERT, b"\x01\0")), b"", [UNEXPECTED]),
    "an alert in clear": (then(lambda client: record(ALERT, b"\x02\x28")), b"", [UNEXPECTED]),
    "data in clear": (then(lambda client: record(DATA, b"GET / HTTP/1.0\r\n\r\n")), b"", [BAD_MAC]),
    "another record version": (
        then(lambda client: (lambda data: data[:1] + b"\x03\x01" + data[3:])(client.seal(DATA, b"x"))),
        b"",
        [DECODE],
    ),
    "a forged record": (then(say(), lambda client: damaged(client.seal(DATA, b"y"))), b"x", [BAD_MAC]),
    "a repeated record": (twice, b"x", [BAD_MAC]),
    "a record shorter than its tag": (then(lambda client: record(DATA, bytes(16))), b"", [BAD_MAC]),
    "close_notify": (sealed((DATA, b"x"), (ALERT, b"\x01\0"), (DATA, b"y")), b"x", [CLOSE_NOTIFY]),
    "a fatal close_notify": (sealed((ALERT, b"\x02\0")), b"", [CLOSE_NOTIFY]),
    "user_canceled": (sealed((ALERT, b"\x01\x5a"), (DATA, b"x")), b"x", []),
    "user_canceled without end": (sealed(*[(ALERT, b"\x01\x5a")] * 20), b"", [UNEXPECTED]),
    "KeyUpdate": (then(RawTls.update, say()), b"x", []),
    "a thousand KeyUpdates": (then(*[RawTls.update] * 1000, say()), b"x", []),
    "KeyUpdate in pieces": (sealed((HANDSHAKE, b"\x18\0"), (HANDSHAKE, b"\0\x01\0")), b"", []),
    "KeyUpdate with data inside": (sealed((HANDSHAKE, b"\x18\0"), (DATA, b"x")), b"", [UNEXPECTED]),
    "KeyUpdate and more in its record": (sealed((HANDSHAKE, message(24, b"\0") * 2)), b"", [UNEXPECTED]),
    "KeyUpdate with 2": (sealed((HANDSHAKE, message(24, b"\x02"))), b"", [ILLEGAL]),
    "KeyUpdate with nothing": (sealed((HANDSHAKE, message(24, b""))), b"", [DECODE]),
    "KeyUpdate of 16 MiB": (sealed((HANDSHAKE, b"\x18\xff\xff\xff")), b"", [ILLEGAL]),
    "old keys after a KeyUpdate": (old_keys, b"", [BAD_MAC]),
    **{
        f"handshake message {kind}": (sealed((HANDSHAKE, message(kind, bytes(40)))), b"", [UNEXPECTED])
        for kind in (0, 1, 2, 4, 5, 8, CERTIFICATE, 13, VERIFY, FINISHED, 67, 254)
    },
}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytes"])
@pytest.mark.parametrize(("make", "plaintext", "alerts"), OPEN.values(), ids=OPEN)
def test_an_open_connection(
    pair: SimpleNamespace, make: Callable[[RawTls], Pieces], plaintext: bytes, alerts: list[int], whole: bool
) -> None:
    engine, client = opened(pair)
    got = b"".join(feed(engine, piece, whole=whole) for piece in make(client))
    assert got == plaintext
    assert ended(engine, client) == alerts and all(client.encrypted)
    assert engine.peer_closed == (alerts == [CLOSE_NOTIFY])


@pytest.mark.parametrize("alert", [b"\x02\x28", b"\x01\x28", b"\x02\xff", b"\x03\x28"])
@pytest.mark.parametrize("start", [half, opened])
def test_an_error_alert_ends_without_an_answer(
    pair: SimpleNamespace, start: Callable[..., tuple[TlsEngine, RawTls]], alert: bytes
) -> None:
    engine, client = start(pair)
    engine.receive_untrusted(client.seal(ALERT, alert))
    assert engine.state is State.FAILED and engine.take_outgoing() == b"" and engine.failure


def test_a_key_update_that_asks_for_one_is_answered_before_the_next_data(pair: SimpleNamespace) -> None:
    engine, client = opened(pair)
    for number in range(3):
        assert engine.receive_untrusted(client.update(1)) == b""
        assert engine.receive_untrusted(client.seal(DATA, b"ask")) == b"ask"
        engine.write(b"answer")
        client.take(engine.take_outgoing())
        assert client.messages.count(KEY_UPDATE) == number + 1 and client.data == b"answer" * (number + 1)


def test_close_notify_in_the_middle_of_a_handshake_ends_it(pair: SimpleNamespace) -> None:
    engine, client = half(pair)
    engine.receive_untrusted(client.seal(ALERT, b"\x01\0"))
    assert (engine.state, engine.failure, engine.peer_closed) == (State.FAILED, "closed_in_handshake", True)


def test_a_cut_is_answered_with_close_notify(pair: SimpleNamespace) -> None:
    """Our direction may still be there (RFC 8446, section 6.1)."""
    engine, client = opened(pair)
    engine.receive_eof()
    assert ended(engine, client) == [CLOSE_NOTIFY] and engine.failure == "cut"


def test_all_that_comes_at_once(pair: SimpleNamespace) -> None:
    """Finished, data, KeyUpdate, data and close_notify in one segment."""
    engine, client = half(pair)
    pieces = [client.second(), client.seal(DATA, b"one "), client.update(), client.seal(DATA, b"two"),
              client.seal(ALERT, b"\x01\0")]  # fmt: skip
    assert engine.receive_untrusted(b"".join(pieces)) == b"one two"
    assert ended(engine, client) == [CLOSE_NOTIFY]


def test_without_protocols_alpn_does_not_matter(pair: SimpleNamespace) -> None:
    for names in ((), ("h2",)):
        engine, client = pair.engine(), pair.client(alpn=names)
        engine = TlsEngine(engine._context, server_side=True, protocols=())
        engine.receive_untrusted(client.first())
        client.take(engine.take_outgoing())
        engine.receive_untrusted(client.second())
        assert engine.state is State.OPEN and engine.protocol is None
