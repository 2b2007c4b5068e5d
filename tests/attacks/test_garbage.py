"""Attacked sentence: whatever comes to the port, and wherever it breaks off, costs one connection and nothing else."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import psutil
import pytest
from attackers.arena import VICTIM, Arena
from attackers.raw_tls import ALERT, DATA, HANDSHAKE, RawTls, message, record
from hosts.running_host import RunningHost

from tlsrt.channels.client.connection import client_context
from tlsrt.channels.session.opening import Opening, identity_of
from tlsrt.channels.tls.engine import State, TlsEngine
from tlsrt.channels.tls.message_stream import PAYLOAD_MAX, StreamReader, encode_control, parse_control_untrusted, wrap
from tlsrt.loops.door.proxy import SIGNATURE

ABORTS = 150
PROXIED = SIGNATURE + b"\x21\x11\x00\x0c" + bytes((192, 0, 2, 7, 127, 0, 0, 1)) + b"\x10\x00\x01\xbb"


def connect(host: RunningHost) -> socket.socket:
    return socket.create_connection(("127.0.0.1", host.port), 10)


def to_the_end(sock: socket.socket) -> bytes:
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def hello() -> bytes:
    return RawTls().first()


GARBAGE: dict[str, bytes] = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(27),
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "SMTP": b"EHLO example.org\r\n",
    "our own protocol without TLS": wrap(encode_control("open", b"x", b"x")),
    "a PROXY header of nobody who is listed": PROXIED + hello(),
    "the PROXY protocol's first version": b"PROXY TCP4 192.0.2.7 127.0.0.1 4096 443\r\n" + hello(),
    "SOCKS": b"\x05\x01\x00",
    "a TLS 1.0 hello": b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01" + bytes(32) + b"\x00\x00\x02\x00\x2f\x01\x00",
    "an SSL 2 hello": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37),
    "nothing but zeros": bytes(100_000),
    "nothing but ones": b"\xff" * 100_000,
    "noise": bytes(range(7, 256)) * 400,
    "empty records": record(HANDSHAKE, b"") * 1000,
    "a record of 16 KiB and one byte": record(HANDSHAKE, b"\x01\0\x50\0" + bytes(16381)),
    "the largest record": record(HANDSHAKE, b"\x01\0\xff\xfb" + bytes(65531)),
    "a hello of 16 MiB": record(HANDSHAKE, b"\x01\xff\xff\xff" + bytes(16000)) + record(HANDSHAKE, bytes(16000)) * 9,
    "another handshake message": record(HANDSHAKE, message(20, bytes(32))),
    "an alert": record(ALERT, b"\x02\x28"),
    "data": record(DATA, bytes(1000)),
    "two hellos": hello() + hello(),
    "a hello and then noise": hello() + bytes(range(256)) * 100,
    "a hello and then a record too long": hello() + record(DATA, bytes(40_000)),
    "a heartbeat that bleeds": record(24, b"\x01\x40\x00"),
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "pieces"])
def test_garbage_gets_an_alert_and_the_end(arena: Arena, data: bytes, whole: bool) -> None:
    with connect(arena.host) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at in range(0, len(data), len(data) if whole else max(1, len(data) // 50)):
                sock.sendall(data[at : at + (len(data) if whole else max(1, len(data) // 50))])
        except ConnectionError:
            pass  # it was cut before we had said it all
        answer = to_the_end(sock)
    assert answer[-7:-5] == b"\x15\x03" or b"\x17\x03\x03" in answer, "an alert, in clear or not"
    arena.unharmed()
    assert "Traceback" not in arena.host.log("primary")


class Conversation:
    """An honest client, which sends so many bytes in all and then breaks off."""

    def __init__(self, host: RunningHost) -> None:
        self.sock = connect(host)
        bundle = host.admin
        self.engine = TlsEngine(
            client_context(bundle), server_side=False, protocols=("tlsrt/1",), server_name="127.0.0.1"
        )
        self.opening = Opening(identity_of(bundle))
        self.reader = StreamReader(PAYLOAD_MAX)
        self.sent = 0

    def talk(self, most: int) -> int:
        """Handshake, open and wait for the grant; return how many bytes were sent."""
        while True:
            data = self.engine.take_outgoing()[: most - self.sent]
            self.sock.sendall(data)
            self.sent += len(data)
            if self.sent >= most:
                return self.sent
            data = self.sock.recv(65536)
            assert data and self.engine.state in (State.HANDSHAKE, State.OPEN)
            for payload in self.reader.feed_untrusted(self.engine.receive_untrusted(data)):
                name, fields = parse_control_untrusted(payload, "server")
                if name == "granted":
                    return self.sent
                self.engine.write(wrap(encode_control("open", *self.opening.answer_untrusted(*fields[:3]))))

    def break_off(self, *, reset: bool) -> None:
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@pytest.fixture
def whole(arena: Arena) -> Iterator[int]:
    """How many bytes an honest client sends until its grant."""
    honest = Conversation(arena.host)
    yield honest.talk(1 << 20)
    honest.break_off(reset=False)


def test_a_client_that_breaks_off_at_any_byte(arena: Arena, whole: int) -> None:
    """150 points of handshake and open, half of them ended by a reset, half by an end without close_notify."""
    primary = psutil.Process(arena.host.pids()["primary"])
    before = primary.num_fds()
    for number in range(ABORTS):
        broken = Conversation(arena.host)
        broken.talk(1 + number * (whole - 1) // (ABORTS - 1))
        broken.break_off(reset=bool(number % 2))
    arena.host.until(lambda _: primary.num_fds() <= before, "every broken connection gone")
    arena.unharmed()
    assert arena.client.call(VICTIM, "value") == arena.total
    for name in ("primary", "authority"):
        assert "Traceback" not in arena.host.log(name)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_a_client_that_breaks_off_at_every_byte(arena: Arena, whole: int) -> None:
    primary = psutil.Process(arena.host.pids()["primary"])
    before = primary.num_fds()
    for most in range(1, whole):
        broken = Conversation(arena.host)
        broken.talk(most)
        broken.break_off(reset=bool(most % 2))
        if most % 40 == 0:  # the door lets nobody come too often
            arena.host.until(lambda _: primary.num_fds() <= before + 8, "most of them gone")
            arena.unharmed()
    arena.host.until(lambda _: primary.num_fds() <= before, "every broken connection gone")


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_noise_for_minutes(arena: Arena) -> None:
    """Random bytes, and hellos with random bytes changed, 20,000 of them."""
    for _ in range(20_000):
        data = bytearray(hello())
        if os.urandom(1)[0] & 1:
            data = bytearray(os.urandom(int.from_bytes(os.urandom(2), "big") % 3000 + 1))
        else:
            for _ in range(1 + os.urandom(1)[0] % 4):
                data[int.from_bytes(os.urandom(2), "big") % len(data)] = os.urandom(1)[0]
        with connect(arena.host) as sock:
            sock.sendall(data)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    arena.unharmed()
