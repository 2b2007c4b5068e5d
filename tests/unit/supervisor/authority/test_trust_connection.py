from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tlsrt.channels.control.seqpacket import ControlChannel, control_pair
from tlsrt.channels.control.trust import TRUST
from tlsrt.errors import PeerError
from tlsrt.supervisor.authority.trust_connection import HUNG_MS, QUEUE_MAX, TrustConnection

Ends = tuple[TrustConnection, ControlChannel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = control_pair()
    line, peer = TrustConnection("third", ours), ControlChannel(theirs, TRUST)
    yield line, peer
    line.close()
    peer.close()


def fill(line: TrustConnection, now: int = 0) -> int:
    count = 0
    while not line.is_blocked:
        line.send(now, "feed", count, 1, 1)
        count += 1
    return count


def test_what_does_not_fit_waits_and_keeps_its_order(ends: Ends) -> None:
    line, peer = ends
    count = fill(line)
    line.send(1, "feed", count, 1, 1)
    for number in range(count + 1):
        line.flush(2)
        message = peer.receive("authority", "new")
        assert message is not None
        assert message[1] == (number, 1, 1)
    assert not line.is_blocked


def test_a_peer_that_reads_nothing_is_hung_after_its_time(ends: Ends) -> None:
    line, peer = ends
    fill(line, 100)
    line.flush(100 + HUNG_MS - 1)
    for _ in range(200):  # reading anything begins the time anew
        peer.receive("authority", "new")
    line.flush(100 + HUNG_MS)
    fill(line, 100 + HUNG_MS)
    line.flush(99 + 2 * HUNG_MS)
    with pytest.raises(PeerError, match="hung"):
        line.flush(100 + 2 * HUNG_MS)


def test_the_queue_is_bounded(ends: Ends) -> None:
    line, _ = ends
    fill(line)
    for _ in range(QUEUE_MAX - 1):
        line.send(1, "feed", 1, 1, 1)
    with pytest.raises(PeerError, match="hung"):
        line.send(1, "feed", 1, 1, 1)


def test_a_dead_peer_is_closed(ends: Ends) -> None:
    line, peer = ends
    peer.close()
    with pytest.raises(PeerError, match="closed"):
        line.send(1, "feed", 1, 1, 1)
    with pytest.raises(PeerError, match="closed"):
        line.receive("new")


def test_descriptors_of_a_loop_are_not_taken(ends: Ends) -> None:
    line, peer = ends
    reading, writing = os.pipe()
    peer.send("join", descriptors=(reading,))
    os.close(reading)
    assert line.receive("new") == ("join", ())
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")  # nobody kept the other end
    os.close(writing)
