"""Attacked sentence: a verifier that misses the feed for 3 s refuses everything, until it has been told all anew.

The authority is stopped, and the supervisor with it, which would otherwise end it for its silence. A captured loop
goes on sending meanwhile, as fast as it likes, with keys and tokens that are good for a minute.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator

import pytest
from attackers.arena import STAGE, THIEF, VICTIM, request_body
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.channels.session.verifier import FEED_SILENCE_MS
from tlsrt.errors import CallError

SILENCE_S = FEED_SILENCE_MS / 1000
EVERY_S = 0.05  # between two requests of the disobedient
LINES = 25  # of refusals in the log, of which there are ten a second at most


def until_refused(client: Client, begun: float) -> None:
    """Call until nothing is answered any more; no call that began after the silence had lasted may be."""
    while True:
        before = time.monotonic()
        try:
            client.call(VICTIM, "value", timeout_s=5.0)
        except CallError:
            return
        assert before < begun + SILENCE_S, "it was answered without a feed"


@pytest.fixture
def disobeyed(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """A host of its own: who disobeys does so for ever."""
    yield from running(request, **STAGE)


def test_a_captured_loop_cannot_keep_itself_alive(disobeyed: RunningHost) -> None:
    host = disobeyed
    client, before = host.client(), host.status()
    pids = [host.pids()[name] for name in ("supervisor", "authority")]
    client.call("third/captured", "disobey", THIEF, VICTIM, "add", request_body(1))
    executed, first = client.call(VICTIM, "value"), time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()  # until here it may have fed
    try:
        until_refused(client, begun)
        limit = time.monotonic() + 60
        while host.log("primary").count("unsynchronised from third") < LINES:
            assert time.monotonic() < limit
            select.select([], [], [], 0.05)  # and no call of ours, whose refusals would fill the log
        with pytest.raises(CallError):
            client.call(VICTIM, "value", timeout_s=0.2)
    finally:
        going = time.monotonic()
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
    while True:
        assert time.monotonic() < going + 30, "it did not come back"
        try:
            total = client.call(VICTIM, "value", timeout_s=5.0)
            break
        except CallError:
            continue
    served_s = (begun + SILENCE_S - first) + (time.monotonic() - going)
    assert 0 < total - executed <= served_s / EVERY_S + 2, "requests were executed while nobody was synchronised"
    after = host.status()
    assert after["authority"]["pid"] == before["authority"]["pid"], "the same authority spoke again"
    assert [loop["pid"] for loop in after["loops"]] == [loop["pid"] for loop in before["loops"]]
