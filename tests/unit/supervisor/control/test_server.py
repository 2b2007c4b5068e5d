"""The control socket: requests as bytes, and attacks on the real socket with a clock that the test moves."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.supervisor.control.client import ControlClient, ControlRefused, NotRunning
from tlsrt.supervisor.control.server import (
    CLIENT_S,
    MAX_CLIENTS,
    MAX_FOLLOWERS,
    MAX_REQUEST_BYTES,
    ControlSocket,
    parse_request_untrusted,
)
from tlsrt.supervisor.control.stream import QUEUE_BYTES, STALL_S, Follower, encode
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.unix_path import short_path
from tlsrt.supervisor.supervision.feature import ControlVerb, Request, StreamVerb


class Host:
    """A control socket with two verbs, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.folder = folder
        self.event_loop = EventLoop(lambda: self.now)
        self.verbs: dict[str, ControlVerb | StreamVerb] = {
            "status": ControlVerb(lambda request, reply: reply(self.status(request))),
            "stop": ControlVerb(lambda request, reply: reply({"stopping": True}), is_held=True),
            "large": ControlVerb(lambda request, reply: reply({"answer": "x" * 8_000_000})),
            "slow": ControlVerb(lambda request, reply: self.waiting.append(reply)),
            "follow": StreamVerb(lambda request, follower: self.followers.append(follower)),
        }
        self.bugs: list[str] = []
        self.control = ControlSocket(self.event_loop, folder, self.verbs, on_bug=self.bugs.append)
        self.followers: list[Follower] = []
        self.asked: list[Request] = []
        self.waiting: list[Callable[[dict[str, object]], None]] = []

    def status(self, request: Request) -> dict[str, object]:
        self.asked.append(request)
        return {"answer": 42}

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(10)
        with short_path(self.folder, "control.sock") as path:
            client.connect(path)
        return client

    def turn(self, times: int = 10) -> None:
        """Let the event loop handle what is there, without ever waiting."""
        for _ in range(times):
            self.event_loop.call_later(0, lambda: None)
            self.event_loop.run_once()

    def ask(self, data: bytes) -> bytes:
        client = self.connect()
        client.sendall(data)
        self.turn()
        answer = read_all(client)
        client.close()
        return answer


def read_all(client: socket.socket) -> bytes:
    answer = b""
    while piece := client.recv(65536):
        answer += piece
    return answer


def serve_until_done(host: Host, thread: threading.Thread) -> None:
    thread.start()
    while thread.is_alive():
        host.turn(1)
    thread.join()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.control.close()
    made.event_loop.close()


@given(st.binary(max_size=300))
def test_every_line_parses_or_raises_the_one_error(line: bytes) -> None:
    try:
        assert isinstance(parse_request_untrusted(line)["verb"], str)
    except PeerError:
        return


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 50_000, "not_json"),
        (b'{"verb": ' + b"9" * 60_000 + b"}", "not_json"),
        (b'{"verb": NaN}', "not_a_request"),
        (b"[]", "not_a_request"),
        (b'"status"', "not_a_request"),
        (b"{}", "not_a_request"),
        (b'{"verb": 1}', "not_a_request"),
        (b'{"verb": "status", "x": "' + b"y" * MAX_REQUEST_BYTES + b'"}', "too_long"),
    ],
)
def test_a_bad_request_is_refused_with_one_word(host: Host, line: bytes, reason: str) -> None:
    with pytest.raises(PeerError, match=reason):
        parse_request_untrusted(line)
    if line:
        assert json.loads(host.ask(line + b"\n")) == {"error": reason}


def test_a_request_is_answered_and_the_connection_closed(host: Host) -> None:
    assert json.loads(host.ask(b'{"verb": "status", "deep": [1]}\n')) == {"answer": 42}
    assert host.asked == [{"verb": "status", "deep": [1]}]


def test_an_unknown_verb_is_refused(host: Host) -> None:
    assert json.loads(host.ask(b'{"verb": "master_key"}\n')) == {"error": "unknown_verb"}


def test_a_bug_in_a_verb_ends_the_request_and_nothing_else(host: Host) -> None:
    host.verbs["buggy"] = ControlVerb(
        lambda request, reply: reply(dict[str, dict[str, object]]()[str(request["verb"])])
    )
    assert json.loads(host.ask(b'{"verb": "buggy"}\n')) == {"error": "internal"}
    assert host.bugs == ["buggy: KeyError: 'buggy'"]
    assert json.loads(host.ask(b'{"verb": "status"}\n')) == {"answer": 42}


def test_byte_by_byte_is_the_same_as_at_once(host: Host) -> None:
    client = host.connect()
    for byte in b'{"verb": "status"}\n':
        client.send(bytes([byte]))
        host.turn(2)
    assert json.loads(read_all(client)) == {"answer": 42}
    client.close()


def test_a_held_verb_keeps_the_connection_until_the_supervisor_ends(host: Host) -> None:
    client = host.connect()
    client.sendall(b'{"verb": "stop"}\n')
    host.turn()
    assert json.loads(client.recv(1000)) == {"stopping": True}
    host.now += 10 * CLIENT_S
    host.turn()
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    host.control.close()
    client.setblocking(True)
    assert client.recv(1) == b""
    client.close()


def test_ten_megabytes_are_cut_off_at_the_bound(host: Host) -> None:
    client = host.connect()
    client.setblocking(False)
    sent = 0
    for _ in range(200):
        try:
            sent += client.send(b"x" * 50_000)
        except BlockingIOError:
            host.turn(2)
        except (BrokenPipeError, ConnectionResetError):
            break
    else:
        raise AssertionError("it took 10 MB")
    assert sent < 1_000_000
    client.close()


def test_a_silent_client_is_closed_when_its_time_is_over(host: Host) -> None:
    client = host.connect()
    client.send(b'{"verb": ')
    host.turn()
    host.now += CLIENT_S - 0.1
    host.turn()
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    host.now += 0.2
    host.turn()
    client.setblocking(True)
    assert client.recv(1) == b""
    client.close()


def test_a_client_that_does_not_read_its_answer_stops_nobody_and_is_closed(host: Host) -> None:
    slow = host.connect()
    slow.sendall(b'{"verb": "large"}\n')
    host.turn()
    assert json.loads(host.ask(b'{"verb": "status"}\n')) == {"answer": 42}
    host.now += CLIENT_S + 0.1
    host.turn()
    assert len(read_all(slow)) < 8_000_000
    slow.close()


def test_a_client_that_reads_slowly_gets_all_of_its_answer(host: Host) -> None:
    client = host.connect()
    client.sendall(b'{"verb": "large"}\n')
    client.setblocking(False)
    answer = b""
    while True:
        host.turn(1)
        try:
            piece = client.recv(100_000)
        except BlockingIOError:
            continue
        if not piece:
            break
        answer += piece
    assert len(json.loads(answer)["answer"]) == 8_000_000
    client.close()


def test_a_thousand_connections_hold_no_more_than_the_bound(host: Host) -> None:
    before = len(os.listdir("/proc/self/fd"))
    clients: list[socket.socket] = []
    words: list[str] = []
    for _ in range(1000):
        client = host.connect()
        host.turn(1)
        client.setblocking(False)
        try:
            words.append(json.loads(client.recv(100))["error"])
            client.close()
        except BlockingIOError:
            clients.append(client)
    assert len(clients) == MAX_CLIENTS
    assert words == ["busy"] * (1000 - MAX_CLIENTS)
    assert len(os.listdir("/proc/self/fd")) == before + 2 * MAX_CLIENTS
    for client in clients:
        client.close()
    host.turn()
    assert json.loads(host.ask(b'{"verb": "status"}\n')) == {"answer": 42}


@pytest.mark.parametrize("half", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_half_open_client_is_forgotten(host: Host, half: int) -> None:
    client = host.connect()
    client.shutdown(half)
    host.turn()
    assert client.recv(10) == b""
    client.close()


def test_another_uid_is_closed_with_one_word(host: Host) -> None:
    """Even if file modes let it in: the kernel says who it is."""
    if os.geteuid() != 0:  # nobody else to be
        assert host.control is not None
        return
    host.folder.chmod(0o711)
    (host.folder / "control.sock").chmod(0o666)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(host.folder)
            os.setresuid(65534, 65534, 65534)
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.connect("control.sock")
            with suppress(BrokenPipeError):  # it may be closed already; the word is there all the same
                client.sendall(b'{"verb": "stop"}\n')
            os.write(writing, client.recv(1000))
        finally:
            os._exit(0)
    os.close(writing)
    host.event_loop.run_once()
    assert json.loads(os.read(reading, 1000)) == {"error": "denied"}
    os.waitpid(pid, 0)
    os.close(reading)


def test_the_socket_is_private_and_goes_at_the_end(host: Host) -> None:
    path = host.folder / "control.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    host.control.close()
    assert not path.exists()


def test_a_socket_that_a_dead_supervisor_left_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(tmp_path, "control.sock") as path:
        left.bind(path)
    left.close()
    with pytest.raises(NotRunning):
        ControlClient(tmp_path)
    host = Host(tmp_path)
    assert json.loads(host.ask(b'{"verb": "status"}\n')) == {"answer": 42}
    host.control.close()
    host.event_loop.close()


def test_a_folder_with_a_name_too_long_for_a_socket_works(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    deep.mkdir(parents=True)
    host = Host(deep)
    answers: list[object] = []

    def ask() -> None:
        with ControlClient(deep) as client:
            answers.append(client.ask("status"))

    serve_until_done(host, threading.Thread(target=ask))
    assert answers == [{"answer": 42}]
    host.control.close()
    host.event_loop.close()


def test_the_client_says_that_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="not running") as caught:
        ControlClient(tmp_path / "nowhere")
    assert caught.value.exit_code == 3


def test_the_client_turns_a_refusal_into_a_sentence(host: Host) -> None:
    raised: list[Exception] = []

    def ask() -> None:
        try:
            with ControlClient(host.folder) as client:
                client.ask("dance")
        except ControlRefused as error:
            raised.append(error)

    serve_until_done(host, threading.Thread(target=ask))
    assert "another version" in str(raised[0])


def test_an_answer_that_takes_its_time(host: Host) -> None:
    with host.connect() as client:
        client.sendall(b'{"verb": "slow"}\n')
        host.turn()
        host.now += 10 * CLIENT_S  # it waits for us, not we for it
        host.turn()
        [reply] = host.waiting
        reply({"done": True})
        host.turn()
        assert json.loads(client.recv(1000)) == {"done": True}
        assert client.recv(1) == b""


def test_whoever_waits_may_leave(host: Host) -> None:
    with host.connect() as client:
        client.sendall(b'{"verb": "slow"}\n')
        host.turn()
    host.turn()
    [reply] = host.waiting
    reply({"done": True})  # to nobody
    host.turn()
    assert not host.control._clients


def test_a_late_answer_that_nobody_takes_does_not_stay(host: Host) -> None:
    with host.connect() as client:
        client.sendall(b'{"verb": "slow"}\n')
        host.turn()
        host.waiting[0]({"answer": "x" * 8_000_000})
        host.turn()
        host.now += CLIENT_S + 1
        host.turn()
        assert not host.control._clients


def follow(host: Host) -> tuple[socket.socket, Follower]:
    client = host.connect()
    client.sendall(b'{"verb": "follow"}\n')
    host.turn()
    return client, host.followers[-1]


def test_a_follower_gets_line_after_line_and_the_end(host: Host) -> None:
    client, follower = follow(host)
    for number in range(3):
        follower.send(encode({"number": number}))
    host.turn()
    host.now += 100 * STALL_S  # however long nothing is said
    host.turn()
    follower.send(encode({"number": 3}))
    follower.end()
    follower.send(encode({"number": 4}))
    host.turn()
    assert [json.loads(line)["number"] for line in read_all(client).splitlines()] == [0, 1, 2, 3]
    assert follower.is_closed
    client.close()


def test_a_slow_follower_is_told_what_it_lost_and_goes_on(host: Host) -> None:
    client, follower = follow(host)
    for number in range(20_000):
        follower.send(encode({"number": number, "text": "x" * 50}))
    host.turn()
    client.setblocking(False)
    received = bytearray()
    for _ in range(1000):
        with suppress(BlockingIOError):
            received += client.recv(100_000)
        host.turn(2)
    follower.send(encode({"number": 20_000}))
    host.turn()
    received += client.recv(100_000)
    expected = 0
    for line in received.splitlines():
        record = json.loads(line)
        expected += record.get("dropped", 0)
        if "number" in record:
            assert record["number"] == expected
            expected += 1
    assert expected == 20_001
    assert b"dropped" in received
    client.close()


def test_a_follower_that_never_reads_costs_its_bound_and_is_closed(host: Host) -> None:
    client, follower = follow(host)
    line = encode({"text": "x" * 1000})
    for _ in range(5000):
        follower.send(line)
        host.turn(1)
    assert follower._queue.size <= QUEUE_BYTES
    assert len(host.event_loop._timers) < 10
    host.now += STALL_S - 1
    host.turn()
    assert not follower.is_closed
    host.now += 2
    host.turn()
    assert follower.is_closed
    assert not host.control._followers
    client.close()


def test_a_follower_that_leaves_in_the_middle_of_a_line_is_forgotten(host: Host) -> None:
    before = len(os.listdir("/proc/self/fd"))
    client, follower = follow(host)
    for _ in range(1000):
        follower.send(encode({"text": "x" * 1000}))
    host.turn(1)
    client.recv(700)
    client.close()
    host.turn()
    follower.send(encode({"text": "to nobody"}))
    follower.end()
    host.turn()
    assert follower.is_closed
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_few_follow_and_the_next_one_is_told_so(host: Host) -> None:
    clients = [follow(host)[0] for _ in range(MAX_FOLLOWERS)]
    assert json.loads(host.ask(b'{"verb": "follow"}\n')) == {"error": "busy"}
    assert json.loads(host.ask(b'{"verb": "status"}\n')) == {"answer": 42}  # they are in nobody's way
    clients.pop().close()
    host.turn()
    clients.append(follow(host)[0])
    for client in clients:
        client.close()


def test_the_end_of_the_supervisor_is_the_end_of_a_stream(host: Host) -> None:
    client, follower = follow(host)
    follower.send(encode({"number": 1}))
    host.turn()
    host.control.close()
    assert json.loads(read_all(client)) == {"number": 1}
    client.close()


def test_the_client_follows_until_the_end(host: Host) -> None:
    heard: list[object] = []

    def listen() -> None:
        with ControlClient(host.folder) as client:
            heard.extend(client.follow("follow"))

    def serve(follower: Follower) -> None:
        for number in range(3):
            follower.send(encode({"number": number}))
        follower.end()

    host.verbs["follow"] = StreamVerb(lambda request, follower: serve(follower))
    serve_until_done(host, threading.Thread(target=listen))
    assert heard == [{"number": 0}, {"number": 1}, {"number": 2}]
