"""Every time of tokens, sessions and the feed is CLOCK_BOOTTIME of the host: other clocks change nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from attackers.tls_peer import open_session
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost, running

from tlsrt.channels.clock import boottime_ms

AHEAD_S = 1_000_000  # 11 days
# time_namespaces(7): its BOOTTIME and MONOTONIC are others than ours; a user needs a user namespace for one.
ELSEWHERE = ["unshare", "--time", "--boottime", str(AHEAD_S), "--monotonic", "5000"]
NAMESPACE = ELSEWHERE if os.geteuid() == 0 else [*ELSEWHERE, "--user", "--map-current-user"]
# The wall clock of the authority jumps, again and again, as far as the certificates are good.
STEPPED = """
import itertools
from tlsrt.supervisor.authority import main
steps = itertools.cycle((0, 300 * 86_400_000, -240_000))
def _wall(real=main.wall_ms):
    return real() + next(steps)
main.wall_ms = main.authority_main.__kwdefaults__["wall"] = _wall
"""


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, witness=NAMESPACE)


def test_a_host_in_another_time_serves_a_client_in_ours(elsewhere: RunningHost) -> None:
    inside = float(Path(f"/proc/{elsewhere.pids()['authority']}/timens_offsets").read_text().split()[4])
    assert inside == AHEAD_S, "the host is where this test wants it"
    with open_session(elsewhere, "admin") as peer:
        assert abs(peer.content.now - boottime_ms() - AHEAD_S * 1000) < 60_000
        assert 0 < peer.content.token_expires - peer.content.now <= 300_000
    assert elsewhere.client().call("primary/kernel", "uname")["release"]
    assert re.search(r"client/admin +127.0.0.1 +active", elsewhere.cli("sessions").stdout)


def test_steps_of_the_wall_clock_change_nothing(request: pytest.FixtureRequest) -> None:
    for host in running(request, prelude=LatePrelude(STEPPED), components={}):
        client = host.client()
        for number in range(8):
            client.call("secondary/store", "put", "a", number)
            assert host.cli("revoke", "session", _session(host)).returncode == 0
            assert client.call("secondary/store", "get", "a", timeout_s=20, idempotent=True) == number
        assert host.cli("revoke", "component", "third/io", "--for", "1h").returncode == 0
        assert "revoked: third/io, for" in host.cli("sessions").stdout
        assert all(loop["restarts"] == 0 for loop in host.status()["loops"])


def _session(host: RunningHost) -> str:
    found = re.findall(r"^([0-9a-f]{8})  secondary/store ", host.cli("sessions").stdout, re.MULTILINE)
    assert len(found) == 1
    return str(found[0])
