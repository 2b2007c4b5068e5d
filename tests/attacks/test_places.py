"""Attacked sentence: no client and no address, and no network of addresses, takes the places of others at the door.

All of loopback is ours, so an attacker has as many addresses as he likes.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from attackers.tls_peer import TlsPeer, open_session
from hosts.host_files import DEFAULT_SESSIONS
from hosts.running_host import RunningHost, running
from tools.programs import need

from tlsrt import Client
from tlsrt.channels.session.enrolment import PROTOCOL as ENROLMENT
from tlsrt.channels.session.lock_statement import sign_statement, unlock_statement
from tlsrt.channels.tls.message_stream import encode_control
from tlsrt.config import door_places
from tlsrt.config.bundle import write_bundle

PLACES = 56  # of clients
STRANGERS = 64
ASKED = "primary/kernel"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    door = {"max_connections": PLACES, "max_connections_per_client": PLACES, "max_unauthenticated": STRANGERS}
    yield from running(
        request, clients=["hog", "guest", "visitor", "ops", "web"], http=["web"], may={"ops": ["unlock"]},
        policy={f"client/{name} -> {ASKED}": ["uname"] for name in ("hog", "guest", "visitor", "ops", "web")},
        limits=DEFAULT_SESSIONS, extra={"door": door},
    )  # fmt: skip


def knock(host: RunningHost, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", host.port), timeout=10, source_address=(source, 0))


class Silent:
    """Connections that say nothing, from so many addresses; whichever is cut is made again."""

    def __init__(self, host: RunningHost, addresses: int) -> None:
        self._host = host
        self._open: dict[str, socket.socket] = {}
        self._sources = [f"127.7.{number // 250}.{number % 250 + 1}" for number in range(addresses)]
        self._end = threading.Event()
        self._is_full = threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def __enter__(self) -> Silent:
        self._thread.start()
        assert self._is_full.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        for sock in self._open.values():
            sock.close()

    def _hold(self) -> None:
        while not self._end.wait(0.004):  # a moment for others on the machine: what is attacked is the door
            for source in self._sources:
                if self._end.is_set():
                    return
                if source in self._open and not is_over(self._open[source]):
                    continue
                if source in self._open:
                    self._open.pop(source).close()
                self._open[source] = knock(self._host, source)
            self._is_full.set()


def is_over(sock: socket.socket) -> bool:
    try:
        return sock.recv(64, socket.MSG_DONTWAIT | socket.MSG_PEEK) is not None
    except BlockingIOError:
        return False
    except OSError:
        return True


@contextmanager
def newcomer(host: RunningHost, name: str) -> Iterator[Client]:
    with Client(host.bundle(name)) as client:
        yield client


def in_time(host: RunningHost, name: str, times: int = 5) -> float:
    """Let a client come in so often, each time with another connection; return how long the slowest took, in s."""
    slowest = 0.0
    for _ in range(times):
        began = time.monotonic()
        with newcomer(host, name) as client:
            assert client.call(ASKED, "uname", timeout_s=10)
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def is_named_over_its_budget(host: RunningHost, name: str) -> bool:
    return any("over_budget" in line and name in line for line in host.cli("events").stdout.splitlines())


def test_silent_connections_of_more_addresses_than_there_are_places_shut_out_no_one(host: RunningHost) -> None:
    with Silent(host, addresses=2 * STRANGERS):
        assert in_time(host, "guest", times=10) < 5
    assert "crowded_out" in host.log("primary")


def test_silent_connections_of_an_address_shut_out_no_one_else_there(host: RunningHost) -> None:
    """As behind one router: the newcomer comes from the very address that has used up what it may have."""
    with ExitStack() as stack:
        for _ in range(3):
            for _ in range(20):
                stack.enter_context(knock(host, "127.0.0.1"))
            assert in_time(host, "guest", times=3) < 5


def test_silent_enrolments_take_no_place_of_clients_or_of_other_enrolments(host: RunningHost, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([ENROLMENT])
    added = host.cli("client", "add", "late", "--allow", f"{ASKED}: [uname]")
    code = next(word for line in added.stdout.splitlines() if "tlsrt enroll" in line for word in line.split()[-1:])
    with ExitStack() as stack:
        for number in range(door_places.ENROLMENTS + 8):
            plain = stack.enter_context(knock(host, f"127.8.0.{number + 1}"))
            stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
        assert in_time(host, "guest", times=3) < 5
        command = [sys.executable, "-m", "tlsrt.channels.cli.main", "enroll", f"127.0.0.1:{host.port}", code]
        done = subprocess.run([*command, "--bundle", str(tmp_path / "b")], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_a_first_flight_that_is_not_whole_in_a_second_is_cut(host: RunningHost) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    with knock(host, "127.9.0.1") as slow:
        began = time.monotonic()
        slow.sendall(hello)
        slow.settimeout(10)
        try:
            while slow.recv(64):
                pass
        except ConnectionError:
            pass
        assert 0.9 < time.monotonic() - began < 9
    host.until(lambda _: "hello_timeout from 127.9.0.1" in host.log("primary"), "the line in the log")


def test_a_client_that_holds_all_places_loses_them_to_others_and_is_named(host: RunningHost) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(open_session(host, "hog")) for _ in range(PLACES)]
        others = [stack.enter_context(newcomer(host, name)) for name in ("admin", "ops", "guest", "visitor")]
        assert all(client.call(ASKED, "uname", timeout_s=10) for client in others)
        said = [peer.control() for peer in held[:2]]  # for those that may unlock, places were kept
        assert [(each.name, *each.fields) for each in said] == [("goodbye", "busy")] * 2
        assert all(client.call(ASKED, "uname", timeout_s=10) for client in others), "they stay"
    host.until(lambda _: is_named_over_its_budget(host, "client/hog"), "the event")


def test_fifty_requests_at_once_of_one_client_are_answered(host: RunningHost, tmp_path: Path) -> None:
    need("curl")
    write_bundle(tmp_path / "web.tlsrt", host.bundle("web"))
    export = [sys.executable, "-m", "tlsrt.channels.cli.main", "export", "--bundle", str(tmp_path / "web.tlsrt")]
    exported = subprocess.run([*export, str(tmp_path / "pem")], capture_output=True, text=True, timeout=30)
    line = exported.stdout.splitlines()[-1].split()
    url = f"{line[-1].removesuffix('/v1/openapi.json')}/v1/call/{ASKED}/uname"
    words = ["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60"]
    parallel = ["--parallel", "--parallel-immediate", "--parallel-max", "50", "-w", "%{http_code}\n"]
    body = ["-H", "Content-Type: application/json", "-d", "{}"]
    done = subprocess.run(
        ["curl", *words, *line[1:-1], *parallel, *body, *["-o", "/dev/null", url] * 50],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["200"] * 50), (done.stderr[-2000:], done.stdout.split())


def test_an_unlock_gets_in_however_many_others_are_there(host: RunningHost) -> None:
    host.cli("lock", "--reason", "a test")
    host.until(lambda document: all(loop["state"] == "active" for loop in document["loops"]), "a locked door")
    with ExitStack() as stack:
        for _ in range(PLACES + 8):
            stack.enter_context(TlsPeer(host, "hog"))
        with Silent(host, addresses=2 * STRANGERS), TlsPeer(host, "ops") as ops:
            locked = ops.control()
            install, boot, lock = locked.fields
            ops.send(encode_control("ask_unlock"))
            *_, challenge = ops.challenge()
            signature = sign_statement(ops.identity.private_key, unlock_statement(install, boot, lock, challenge))
            ops.send(encode_control("unlock", ops.identity.certificate, signature))
            assert ops.control().fields in (("unlocked",), ("draining",)), "the door that was asked ends, now or soon"
            host.until(lambda document: document["lock"] is None, "an unlocked host")
