"""Attacked sentence: a client sends so many frames a second, however many connections it has, and harms itself only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from attackers.arena import header_of, request_body
from attackers.tls_peer import TlsPeer, open_session, request
from hosts.running_host import RunningHost, running

from tlsrt.channels.frames.frame import FrameKind, parse_frame_untrusted

TARGET = "primary/kernel"
PER_S, EACH, CONNECTIONS = 100, 40, 16
PARTS, WINDOW = 200, 32


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, clients=["flooder", "sender"],
        extra={"limits": {"frames_per_s_of": {"flooder": PER_S, "sender": PER_S}}},
        policy={f"client/* -> {TARGET}": ["uname"], "client/sender -> third/io": ["write_stream"]},
    )  # fmt: skip


def answers(peer: TlsPeer, count: int) -> list[str]:
    """Return what so many requests were answered, in any order."""
    found: list[str] = []
    for _ in range(count):
        frame = peer.frame()
        assert frame, "the connection was ended"
        kind = header_of(frame).kind
        found.append("passed" if kind == FrameKind.REPLY else parse_frame_untrusted(frame).body.decode())
    return found


def test_a_flood_over_16_connections_is_answered_busy_and_nobody_else_waits(host: RunningHost) -> None:
    honest = host.client()
    begin = time.monotonic()
    with ExitStack() as stack:
        peers = [stack.enter_context(open_session(host, "flooder")) for _ in range(CONNECTIONS)]
        for peer in peers:
            peer.send(*(request(peer, TARGET, "uname", seq, request_body()) for seq in range(1, EACH + 1)))
        assert all(honest.call(TARGET, "uname") for _ in range(20))
        told = Counter(word for peer in peers for word in answers(peer, EACH))
        took_s = time.monotonic() - begin
        assert set(told) == {"passed", "busy"} and sum(told.values()) == CONNECTIONS * EACH  # each is answered
        assert PER_S // 2 <= told["passed"] <= PER_S * (took_s + 1) + 1
        seq = EACH
        while True:  # and each of the connections lives, and is served again in its time
            seq += 1
            for peer in peers:
                peer.send(request(peer, TARGET, "uname", seq, request_body()))
            if {word for peer in peers for word in answers(peer, 1)} & {"passed"}:
                break
            assert time.monotonic() < begin + 60
    assert f"busy: client/flooder sends more than {PER_S} frames a second" in host.log("primary")


def test_what_is_no_request_is_never_dropped_but_read_more_slowly(host: RunningHost) -> None:
    begin = time.monotonic()
    size = host.client("sender").upload("third/io", "write_stream", [b"x"] * PARTS, "parts")
    took_s = time.monotonic() - begin
    assert size == PARTS
    assert PER_S * (took_s + 1) + WINDOW >= PARTS + 1, "what lies in one window passes at once"
