"""Messages with peers of libzmq on a real host: the peer of the guide, and both processes killed meanwhile."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.curve_peers import PROCESS, ZEROMQ, CurvePeers, curve_peers
from hosts.joined_messages import MESSAGES, until

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "zeromq.md"


@pytest.fixture(scope="module")
def peers() -> Iterator[CurvePeers]:
    with curve_peers() as made:
        yield made


def peer_of_the_guide(peers: CurvePeers, folder: Path, name: str, *text: str) -> subprocess.Popen[str]:
    [code] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    (folder / "peer.py").write_text(code)
    (folder / "peer.key").write_bytes(peers.pairs[name][1])
    words = [f"tcp://127.0.0.1:{peers.port}", peers.key.decode(), "peer.key", *text]
    return subprocess.Popen([sys.executable, "peer.py", *words], cwd=folder, stdout=subprocess.PIPE, text=True)


def states(peers: CurvePeers, id: str) -> list[str]:
    with peers.host.client("anna") as anna:
        found = anna.call(MESSAGES, "sent")["messages"]
    return [one["state"] for message in found if message["id"] == id for one in message["recipients"]]


def test_the_peer_of_the_guide_sends(peers: CurvePeers, tmp_path: Path) -> None:
    said, _ = peer_of_the_guide(peers, tmp_path, "press", "die Presse läuft").communicate(timeout=60)
    assert said.startswith("kept ")
    [got] = [one for one in peers.inbox() if one["topic"] == "press"]
    assert (got["from"], got["preview"]) == (ZEROMQ, "die Presse läuft")


def test_the_peer_of_the_guide_takes_what_waited(peers: CurvePeers, tmp_path: Path) -> None:
    with peers.host.client("anna") as anna:
        id = anna.call(MESSAGES, "send", ZEROMQ, "stop at 18:00", topic="lamp.hall")["id"]
        with peers.host.client() as admin:
            until(lambda: admin.call(ZEROMQ, "peers", timeout_s=60)["lamp"]["away"] == "it is not connected")
    with peer_of_the_guide(peers, tmp_path, "lamp") as running:
        try:
            assert running.stdout is not None and running.stdout.readline() == "client/anna stop at 18:00\n"
            until(lambda: states(peers, id) == ["acknowledged"])
        finally:
            running.kill()


def test_what_a_peer_refuses_is_told_to_its_sender(peers: CurvePeers) -> None:
    press = peers.connect("press")
    press.say(b"ready")
    with peers.host.client("anna") as anna:
        id = anna.call(MESSAGES, "send", ZEROMQ, "x", topic="press")["id"]
    heard = press.heard()
    assert heard is not None and heard[:2] == [b"message", id.encode()]
    press.say(b"refused", heard[1], b"no\x1b[2Jpaper")
    [told] = until(lambda: [one for one in peers.inbox() if one["in_reply_to"] == id])
    assert told["preview"] == "the peer press refuses this message: no?[2Jpaper"
    press.close()


def test_killed_again_and_again_nothing_is_lost_or_twice(peers: CurvePeers) -> None:
    press = peers.connect("press")
    for number in range(24):
        if number % 4 == 1:
            peers.host.kill(PROCESS if number % 8 == 1 else "external.messages")
        assert press.send(b"k%d" % number, b"killed %d" % number)[0] == b"kept"
    peers.host.kill(PROCESS)
    for number in range(24):  # all of them again, as from a peer that has lost the answers
        assert press.send(b"k%d" % number, b"killed %d" % number)[0] == b"kept"
    press.close()
    got = [one["preview"] for one in peers.inbox() if one["preview"].startswith("killed")]
    assert sorted(got) == sorted(f"killed {number}" for number in range(24))
    assert peers.host.loop(PROCESS)["violations"] == 0
