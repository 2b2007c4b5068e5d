"""A real authority has a real learner say what a client does usually, and tells when it does something else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.authority_host import ADMIN, AuthorityHost, Client, Peer, make_config, open_session

from tlsrt.channels.control.learner import LEARNER
from tlsrt.channels.control.seqpacket import control_pair
from tlsrt.channels.control.telemetry import LOOKS, Window, pack_rows
from tlsrt.supervisor.learner.main import learner_main

USUAL = Window(40, 12_000, 16_000, 0, 0, 0, 2, LOOKS, 8)
WILD = USUAL._replace(bytes_out=160_000_000, methods=511, open_calls=300)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[AuthorityHost]:
    host = AuthorityHost(make_config(tmp_path))
    host.start()
    host.join("primary", "third")
    yield host
    host.close()


@pytest.fixture
def learner() -> Iterator[Peer]:
    """The learner's process, without its sandbox; the test is the supervisor."""
    ours, theirs = control_pair()
    child = os.fork()
    if child == 0:
        os.close(ours)
        os._exit(learner_main(theirs))
    os.close(theirs)
    peer = Peer(ours, LEARNER, "learner")
    assert peer.next()[0] == "sealed"
    peer._state = "sealed"
    yield peer
    peer.close()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def tell(host: AuthorityHost, loop: str, session: bytes, window: Window) -> None:
    host.loops[loop].send_patiently("telemetry", pack_rows([(session, window)]))


def learn(host: AuthorityHost, learner: Peer, session: bytes, window: Window) -> None:
    """Tell of a window, carry the question to the learner, and its advice back."""
    tell(host, "primary", session, window)
    learner.send("weigh", *host.office.wait("weigh"))
    host.office.send("advice", *learner.wait("advice"))


def noted(host: AuthorityHost) -> list[list[object]]:
    host.settle()
    return [note for fields in host.office.all("noted") for note in fields[0] if note[0] == "unusual"]


def test_a_client_that_changes_its_ways_is_told_of(host: AuthorityHost, learner: Peer) -> None:
    session = open_session(host, Client(ADMIN))[4]
    for _ in range(70):
        learn(host, learner, session, USUAL)
    assert noted(host) == []
    learn(host, learner, session, WILD)
    host.office.wait("noted", lambda fields: any(note[0] == "unusual" for note in fields[0]))
    [[_, subject, words, _]] = noted(host)
    assert subject == "client/admin"
    assert "bytes out: 160000000, usually 16383" in str(words)


def test_nobody_but_primary_tells_of_traffic(host: AuthorityHost) -> None:
    tell(host, "third", bytes(16), WILD)
    assert "not_primary" in host.office.wait("event")[1]


def test_a_captured_primary_that_tells_nonsense_loses_its_channel(host: AuthorityHost) -> None:
    host.loops["primary"].send("telemetry", [[bytes(16), "x"]])
    assert "bad_row" in host.office.wait("event")[1]
