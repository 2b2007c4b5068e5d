"""Connections of the metrics process: few places, none of which a silent or slow one keeps."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from tlsrt.supervisor.metrics.connections import ACCEPTED_AT_ONCE, HEAD_S, PLACES, WHOLE_S, Connection, Connections

ASK = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Stage:
    """Connections of a UNIX socket, whose requests wait or are answered with `body`."""

    def __init__(self, path: str) -> None:
        self.now = 0.0
        self.body: bytes | None = b"ok\n"
        self.waiting: list[Connection] = []
        self.path = path
        self.epoll = select.epoll()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1000)
        self.listener.setblocking(False)
        self.served = Connections(self.epoll, self.listener, self.requested, lambda: self.now, is_tcp=False)
        self.peers: list[socket.socket] = []

    def requested(self, connection: Connection) -> None:
        if self.body is None:
            self.waiting.append(connection)
        else:
            self.served.send(connection, "200 OK", self.body)

    def connect(self, count: int = 1, say: bytes = b"") -> list[socket.socket]:
        made: list[socket.socket] = []
        for _ in range(count):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(self.path)
            peer.sendall(say)
            peer.settimeout(0)
            made.append(peer)
        self.peers += made
        self.turn()
        return made

    def turn(self) -> None:
        while ready := self.epoll.poll(0):
            for descriptor, events in ready:
                if self.served.owns(descriptor):
                    self.served.ready(descriptor, events)

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.turn()
        self.listener.close()
        self.epoll.close()


@pytest.fixture
def stage(short_folder: str) -> Iterator[Stage]:
    made = Stage(f"{short_folder}/s")
    yield made
    made.close()


@pytest.fixture
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tlsrt.") as folder:
        yield folder


def heard(peer: socket.socket) -> bytes:
    """Return all that a peer was sent; raise BlockingIOError if its connection is open."""
    data = b""
    while piece := peer.recv(65536):
        data += piece
    return data


def is_open(peer: socket.socket) -> bool:
    try:
        return bool(peer.recv(65536)) and is_open(peer)
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def test_a_request_in_pieces_is_answered_once_and_its_connection_ends(stage: Stage) -> None:
    [peer] = stage.connect()
    for at in range(len(ASK)):
        peer.sendall(ASK[at : at + 1])
        stage.turn()
    assert heard(peer).endswith(b"\r\n\r\nok\n")
    [pipelined] = stage.connect(say=ASK * 3)
    assert heard(pipelined).count(b"HTTP/1.1") == 1


def test_a_reader_that_says_no_more_is_answered(stage: Stage) -> None:
    stage.body = None
    [peer] = stage.connect(say=ASK)
    peer.shutdown(socket.SHUT_WR)
    stage.turn()
    stage.served.send(stage.waiting[0], "200 OK", "late\n")
    assert heard(peer).endswith(b"late\n")


@pytest.mark.parametrize("silent", [b"", b"GET /"])
def test_silent_ones_have_no_place_for_ever(stage: Stage, silent: bytes) -> None:
    peers = stage.connect(PLACES, silent)
    assert all(is_open(one) for one in peers)
    [honest] = stage.connect(say=ASK)
    assert heard(honest).endswith(b"ok\n") and not is_open(peers[0]) and is_open(peers[1])
    stage.now = HEAD_S
    stage.served.end_late()
    assert not any(is_open(one) for one in peers)


def test_slow_readers_have_no_place_for_ever(stage: Stage) -> None:
    stage.body = b"x" * 8_000_000
    peers = stage.connect(PLACES, ASK)
    [honest] = stage.connect(say=ASK)
    stage.body = b"ok\n"
    data = b""
    for _ in range(1000):
        try:
            data += honest.recv(1 << 20)
        except BlockingIOError:
            stage.turn()
    assert data.endswith(b"x" * 1000) and len(data) > 8_000_000
    stage.now = WHOLE_S
    stage.served.end_late()
    stage.turn()
    assert stage.served.next_end() is None and stage.served.dropped == len(peers)


def test_those_that_have_asked_keep_their_places_and_others_wait(stage: Stage) -> None:
    stage.body = None
    peers = stage.connect(PLACES, ASK)
    later = stage.connect(ACCEPTED_AT_ONCE, ASK)
    assert len(stage.waiting) == PLACES
    stage.body = b"ok\n"
    for connection in stage.waiting:
        stage.served.send(connection, "200 OK", b"ok\n")
    assert all(heard(one).endswith(b"ok\n") for one in peers)
    stage.turn()
    assert all(heard(one).endswith(b"ok\n") for one in later)


def test_one_that_goes_before_its_answer_leaves_no_event(stage: Stage) -> None:
    stage.body = None
    [peer] = stage.connect(say=ASK)
    peer.close()
    for descriptor, events in stage.epoll.poll(0):  # and again, as long as it is there
        stage.served.ready(descriptor, events)
    assert stage.epoll.poll(0) == [] and stage.served.dropped == 1
    [connection] = stage.waiting
    assert not connection.is_open
    stage.served.send(connection, "200 OK", "late\n")


def test_slow_readers_share_one_text(stage: Stage) -> None:
    stage.body = None
    stage.connect(2, ASK)
    body = b"x" * 8_000_000
    for connection in stage.waiting:
        stage.served.send(connection, "200 OK", body)
        assert connection.left is not None and connection.left[0].obj is body


def test_a_long_request_is_refused(stage: Stage) -> None:
    [peer] = stage.connect(say=b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
    assert b" 431 " in peer.recv(1000)
