"""Attacked sentence: only who has a listed CURVE key is heard, as that peer and no other, and a flood costs no host."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import zmq
from hosts.curve_peers import PROCESS, ZEROMQ, CurvePeers, Peer, curve_peers
from hosts.joined_messages import MESSAGES, until
from hosts.running_host import RunningHost

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00"


@pytest.fixture(scope="module")
def peers() -> Iterator[CurvePeers]:
    with curve_peers() as made:
        yield made


def is_well(peers: CurvePeers, mark: bytes) -> None:
    """Check that a listed peer is served."""
    press = peers.connect("press")
    assert press.send(os.urandom(8).hex().encode(), mark)[0] == b"kept"
    press.close()


def previews(peers: CurvePeers) -> set[str]:
    return {one["preview"] for one in peers.inbox()}


def test_who_has_no_listed_key_is_not_heard(peers: CurvePeers) -> None:
    strangers: list[Peer] = [peers.connect("", zmq.curve_keypair())]  # a key that no one has listed
    wrong = peers.context.socket(zmq.DEALER)  # another host's key
    wrong.curve_serverkey = zmq.curve_keypair()[0]
    wrong.curve_publickey, wrong.curve_secretkey = peers.pairs["press"]
    stolen = peers.context.socket(zmq.DEALER)  # the public key of press, and not its secret
    stolen.curve_serverkey = peers.key
    stolen.curve_publickey, stolen.curve_secretkey = peers.pairs["press"][0], zmq.curve_keypair()[1]
    null, plain = peers.context.socket(zmq.DEALER), peers.context.socket(zmq.DEALER)
    plain.plain_username, plain.plain_password = b"press", b"press"
    for made in (wrong, stolen, null, plain):
        made.setsockopt(zmq.LINGER, 0)
        made.connect(f"tcp://127.0.0.1:{peers.port}")
        strangers.append(Peer(made))
    for one in strangers:
        one.say(b"send", b"stranger", b"", b"", b"stranger")
        one.say(b"ready")
    until(lambda: peers.counters().get("keys_refused", 0) >= 1)
    is_well(peers, b"after strangers")
    assert [one.heard(0.2) for one in strangers] == [None] * len(strangers)
    assert "stranger" not in previews(peers)
    for one in strangers:
        one.close()


def test_a_routing_id_of_its_own_takes_no_place(peers: CurvePeers) -> None:
    lamp = peers.connect("lamp", route=b"x")
    lamp.say(b"ready")
    until(lambda: peers.counters().get("routes_refused", 0) >= 1)
    with peers.host.client() as admin:
        assert not admin.call(ZEROMQ, "peers")["lamp"]["is_ready"]
    lamp.close()
    idle = peers.connect("idle", route=b"\0" + b"abcd")  # as of libzmq itself, which it refuses to others
    idle.say(b"ready")
    is_well(peers, b"after ids")
    idle.close()


def test_a_peer_answers_for_itself_alone(peers: CurvePeers) -> None:
    press, lamp = peers.connect("press"), peers.connect("lamp")
    press.say(b"ready")
    with peers.host.client("anna") as anna:
        id = anna.call(MESSAGES, "send", ZEROMQ, "for press", topic="press")["id"].encode()
    heard = press.heard()
    assert heard is not None and heard[1] == id
    lamp.say(b"taken", id)
    lamp.say(b"refused", id, b"never")
    assert lamp.send(b"after", b"the answers of lamp were read")[0] == b"kept"
    with peers.host.client("anna") as anna:
        [state] = [
            one["recipients"][0]["state"] for one in anna.call(MESSAGES, "sent")["messages"] if one["id"] == id.decode()
        ]
    assert state in ("delivered", "read")
    press.say(b"taken", id)
    press.close()
    lamp.close()


def test_frames_that_are_none_are_refused_and_nothing_else(peers: CurvePeers) -> None:
    press = peers.connect("press")
    before = previews(peers)
    frames: list[list[bytes]] = [
        [b""], [b"send"], *([b"send", id, b"", b"", b"x"] for id in (b"", b"a b", b"i" * 129)),
        [b"taken", b"../x"], [b"ready", b"x"], [b"kept", b"0" * 32], [b"\xff" * 60_000], [b""] * 500,
    ]  # fmt: skip
    for each in frames:
        press.say(*each)
        answer = press.heard()
        assert answer is not None and answer[:2] == [b"refused", b""]
    press.socket.send(b"")
    assert press.heard() is not None
    refused = [(b"t opic", b"", b"x"), (b"", b"text", b"x"), (b"", b"", b"x" * 65537)]
    for number, (topic, kind, body) in enumerate(refused):
        press.say(b"send", b"bad%d" % number, topic, kind, body)
        answer = press.heard()
        assert answer is not None and answer[:2] == [b"refused", b"bad%d" % number]
    assert previews(peers) == before
    press.close()
    is_well(peers, b"after frames")


def test_a_huge_frame_ends_the_connection_of_who_sends_it(peers: CurvePeers) -> None:
    press = peers.connect("press")
    assert press.send(b"small", b"small")[0] == b"kept"
    press.say(b"send", b"huge", b"", b"", bytes(8 << 20))
    is_well(peers, b"after a huge frame")
    press.close()
    assert psutil.Process(peers.host.all_pids()[PROCESS]).memory_info().rss < 160 << 20


def test_a_replay_of_what_went_over_the_wire_is_nothing(peers: CurvePeers) -> None:
    """Each handshake has keys of its own, so what was recorded opens no other connection."""
    recorded = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as relay:
        thread = threading.Thread(target=_relay, args=(relay, peers.port, recorded))
        thread.start()
        made = peers.context.socket(zmq.DEALER)
        made.curve_serverkey = peers.key
        made.curve_publickey, made.curve_secretkey = peers.pairs["press"]
        made.connect(f"tcp://127.0.0.1:{relay.getsockname()[1]}")
        press = Peer(made)
        assert press.send(b"recorded", b"recorded")[0] == b"kept"
        before = peers.counters()
        press.close()
        thread.join(30)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", peers.port), timeout=20) as sock:
            sock.sendall(bytes(recorded))
            _until_end(sock)
    after = peers.counters()
    assert [after.get(name) for name in ("kept", "repeated")] == [before.get(name) for name in ("kept", "repeated")]


def _relay(listener: socket.socket, port: int, recorded: bytearray) -> None:
    inner, _ = listener.accept()
    with inner, socket.create_connection(("127.0.0.1", port)) as outer:
        back = threading.Thread(target=_copy, args=(outer, inner, None))
        back.start()
        _copy(inner, outer, recorded)
        outer.shutdown(socket.SHUT_RDWR)
        back.join(30)


def _copy(source: socket.socket, target: socket.socket, recorded: bytearray | None) -> None:
    try:
        while data := source.recv(65536):
            if recorded is not None:
                recorded += data
            target.sendall(data)
    except OSError:
        pass


def _until_end(sock: socket.socket) -> None:
    try:
        while sock.recv(65536):
            pass
    except OSError:
        pass


def test_garbage_and_silence_end_by_themselves(peers: CurvePeers) -> None:
    begin = time.monotonic()
    curve = GREETING + b"CURVE" + bytes(47)
    hello = curve + b"\x04\xc8\x05HELLO" + bytes(194)
    http = b"GET / HTTP/1.1\r\n\r\n"
    for data in (os.urandom(4096), GREETING + b"NULL" + bytes(48), curve + b"\x06" + b"\xff" * 8, hello, http, b""):
        with socket.create_connection(("127.0.0.1", peers.port), timeout=60) as sock:
            sock.sendall(data)
            _until_end(sock)  # the host ends it
    assert time.monotonic() - begin < 100
    is_well(peers, b"after garbage")


def test_more_connections_than_it_has_files_pass(peers: CurvePeers) -> None:
    """They keep others out for as long as they last, and no longer: a handshake has 3 s."""
    silent: list[socket.socket] = []
    pid = peers.host.all_pids()[PROCESS]
    try:
        for _ in range(700):
            silent.append(socket.create_connection(("127.0.0.1", peers.port), timeout=60))
    finally:
        for one in silent:
            one.close()
    is_well(peers, b"after connections")
    assert peers.host.all_pids()[PROCESS] == pid, "it was not ended by that"


def test_a_peer_that_floods_and_reads_nothing_costs_itself_alone(peers: CurvePeers) -> None:
    lamp = peers.connect("lamp")
    lamp.socket.setsockopt(zmq.SNDTIMEO, 20_000)
    for number in range(3000):
        lamp.say(b"send", b"f%d" % number, b"", b"", b"flood")
    lamp.say(b"ready")
    is_well(peers, b"in a flood")
    figures = until(lambda: _figures(peers.host, "lamp", 60))
    assert figures["kept"] <= 700, "per_minute and the window hold it"
    lamp.close()


def _figures(host: RunningHost, name: str, least: int) -> dict[str, Any] | None:
    with host.client() as admin:
        found: dict[str, Any] = admin.call(ZEROMQ, "peers", timeout_s=60)[name]
    return found if found["kept"] + found["later"] >= least else None
