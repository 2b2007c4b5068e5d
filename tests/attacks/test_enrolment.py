"""Attacked sentence: without a certificate nobody can do more at the door than show a join code, seldom and shortly.

A captured Primary's attempts are in test_captured_primary.py, those on codes and MACs in the authority's own tests.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hosts.door_host import memory_file
from hosts.running_host import RunningHost, running

from tlsrt.channels.client.enroll import enroll
from tlsrt.channels.session.enrolment import (
    PROTOCOL,
    JoinCode,
    encode_message,
    parse_answering_untrusted,
    parse_code,
    pin_of,
    request_mac,
)
from tlsrt.channels.tls.message_stream import StreamReader, encode_control, wrap
from tlsrt.config import pki
from tlsrt.errors import ConfigError, Rejected, TlsrtError
from tlsrt.loops.door.admission import ENROLMENTS_OF_ADDRESS
from tlsrt.loops.door.enrolment import BURST, TIMEOUT_S
from tlsrt.loops.door.fair_pool import LATE_S

PATIENCE_S = 10.0
REFUSED = ("refused", ["rejected"])


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request)


class Stranger:
    """A connection without a certificate; `hear` returns messages to the end of the connection."""

    def __init__(self, host: RunningHost, *protocols: str, source: str = "127.0.0.2") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(list(protocols or (PROTOCOL,)))
        plain = socket.create_connection(("127.0.0.1", host.port), PATIENCE_S, source_address=(source, 0))
        self.tls = context.wrap_socket(plain, server_hostname="localhost")

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.tls.close()

    def hear(self) -> list[tuple[str, list[object]]]:
        reader, heard = StreamReader(1 << 17), list[tuple[str, list[object]]]()
        while data := self.tls.recv(1 << 16):
            heard += [parse_answering_untrusted(payload) for payload in reader.feed_untrusted(data)]
        return heard


def code_of(host: RunningHost, name: str) -> JoinCode:
    said = host.cli("client", "add", name, "--allow", "secondary/store: get", "--json")
    assert said.returncode == 0, said.stderr
    return parse_code(json.loads(said.stdout)["code"])


GOOD = encode_message("enrol", bytes(5), b"r" * 220, bytes(32))


SAID = [
    wrap(GOOD),  # a code that nobody was given
    wrap(os.urandom(100)),
    wrap(encode_message("enrol", bytes(5), b"r" * 220, bytes(31))),
    wrap(encode_control("open", b"o" * 200, b"s" * 70)),
    wrap(GOOD[:-1]) + wrap(GOOD),
    (1 << 31).to_bytes(4, "big"),
    (4000).to_bytes(4, "big"),
    bytes(8),
]


@pytest.mark.parametrize("number", range(len(SAID)))
def test_whatever_is_said_gets_one_answer(host: RunningHost, number: int) -> None:
    with Stranger(host, source=f"127.0.1.{number + 1}") as stranger:
        stranger.tls.sendall(SAID[number])
        first, *rest = stranger.hear()
    assert first[0] == "authorities" and rest == [REFUSED]


@pytest.mark.parametrize("protocols", [("tlsrt/1",), ("tlsrt/1", PROTOCOL), (PROTOCOL, "tlsrt/1")])
def test_who_offers_anything_else_needs_a_certificate(host: RunningHost, protocols: tuple[str, ...]) -> None:
    with Stranger(host, *protocols) as stranger:
        assert stranger.tls.selected_alpn_protocol() == "tlsrt/1"
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
            stranger.hear()


def test_few_strangers_are_here_at_a_time_and_clients_do_not_notice(host: RunningHost) -> None:
    """They are here for a moment only, and take no place of others: see test_places.py."""
    with ExitStack() as stack:
        strangers = [stack.enter_context(Stranger(host, source="127.0.2.1")) for _ in range(ENROLMENTS_OF_ADDRESS)]
        time.sleep(LATE_S + 0.1)  # from then on the oldest makes room for one more
        came = time.monotonic()
        strangers += [stack.enter_context(Stranger(host, source="127.0.2.1")) for _ in range(ENROLMENTS_OF_ADDRESS)]
        with suppress(ConnectionError, ssl.SSLError):
            assert REFUSED not in strangers[0].hear(), "it was told something and not cut"
        assert time.monotonic() - came < TIMEOUT_S / 2, "it has ended for its time and not for others"
        with Stranger(host, source="127.0.2.2") as other:
            other.tls.sendall(wrap(GOOD))
            assert other.hear()[-1] == REFUSED, "another address has a turn of its own"
        assert host.client().call("primary/kernel", "uname")
        strangers[-1].tls.sendall(wrap(GOOD))
        assert strangers[-1].hear()[-1] == REFUSED
    host.until(lambda _: "crowded_out from 127.0.2.1" in host.log("primary"), "who was cut")


def test_guesses_are_slow_and_a_code_ends_by_wrong_ones(host: RunningHost) -> None:
    code = code_of(host, "guessed")
    request, _ = pki.make_request()
    answers = set()
    for number in range(int(BURST) + 5):
        guess = number.to_bytes(16, "big")
        mac = request_mac(code.code_id, guess, request)
        with Stranger(host, source="127.0.3.1") as stranger:
            stranger.tls.sendall(wrap(encode_message("enrol", code.code_id, request, mac)))
            answers.add(json.dumps(stranger.hear()[1:]))
    assert answers == {json.dumps([REFUSED])}, "too fast, wrong, used up: all the same"
    host.until(lambda _: "too_fast_stranger" in host.cli("events", "--kind", "session").stdout, "the limit")
    host.until(lambda _: "join_code_used_up" in host.log("authority"), "the end of the code")
    with pytest.raises(Rejected):
        enroll("127.0.0.1", host.port, code, host.base / "guessed.tlsrt")


def test_a_host_with_another_ca_is_not_believed(host: RunningHost) -> None:
    code = code_of(host, "careful")
    other = JoinCode(code.code_id, code.secret, pin_of(b"another CA"))
    path = host.base / "careful.tlsrt"
    with pytest.raises(ConfigError, match="is not the host that made this join code"):
        enroll("127.0.0.1", host.port, other, path)
    with pytest.raises(ConfigError, match="cannot prove that it is the host"):
        enroll("127.0.0.1", host.port, code, path, server_name="elsewhere.example")
    assert not path.exists()
    assert enroll("127.0.0.1", host.port, code, path).name == "careful", "neither has used the code up"


def test_an_impostor_with_a_certificate_of_its_own_learns_nothing(host: RunningHost, tmp_path: Path) -> None:
    """It may even repeat the host's CA: the second connection wants a server certificate of it."""
    code = code_of(host, "lured")
    ca = pki.make_ca(b"i" * 16, datetime.now(UTC))
    server = pki.issue_server(ca, b"i" * 16, "127.0.0.1", datetime.now(UTC))
    with Stranger(host, source="127.0.4.1") as stranger:
        stranger.tls.sendall(wrap(GOOD))
        said, fields = stranger.hear()[0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([PROTOCOL])
    files = [memory_file(server.certificate_pem), memory_file(server.key_pem)]
    context.load_cert_chain(*(f"/proc/self/fd/{descriptor}" for descriptor in files))
    for descriptor in files:
        os.close(descriptor)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                try:
                    plain, _ = listener.accept()
                    plain.settimeout(PATIENCE_S)
                    with context.wrap_socket(plain, server_side=True) as tls:
                        tls.sendall(wrap(encode_message(said, *fields)))
                        heard.append(tls.recv(1 << 16))
                except OSError:
                    continue

        listener.settimeout(PATIENCE_S)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(TlsrtError, match="cannot prove"):
            enroll("127.0.0.1", listener.getsockname()[1], code, tmp_path / "lured.tlsrt")
        thread.join(PATIENCE_S)
    assert not any(heard), "no id, no request, no MAC"
