"""Attacked sentence: whoever opens a canary file in a loop's root, or in the state folder, is told at once.

An attacker's script in every loop of a real host, as root and as a user without rights, opens the file that looks
like a key. It gets 32 random bytes and no sign that anybody looks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attackers.loop_scripts import SCRIPTS, scripted
from hosts.decoy_events import events, watching
from hosts.running_host import RunningHost
from probes.sandbox_runner import MODES

from tlsrt.channels.clock import boottime_ms
from tlsrt.config.canaries import STATE_CANARY
from tlsrt.sandbox.apply.root_filesystem import CANARY, CANARY_BYTES


@pytest.fixture(scope="module", params=MODES)
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from scripted(request, request.param)


def test_the_canary_of_each_root(host: RunningHost) -> None:
    client = host.client()
    with watching(host) as watch:
        for loop, script in SCRIPTS.items():
            since = boottime_ms()
            assert client.call(script, "read_file", CANARY) == CANARY_BYTES
            event = watch.touched(since)
            assert (event["subject"], event["fields"]["decoy"]) == (loop, f"file {CANARY}")
        assert watch.in_time()
    assert not [warning for warning in host.status()["warnings"] if "canary" in warning]
    host.respawn("third")  # a new process has a new root
    with watching(host) as watch:
        host.client().call(SCRIPTS["third"], "read_file", CANARY)
        assert watch.next("decoy_touched")["subject"] == "third"


def test_the_canary_of_the_state_folder(host: RunningHost) -> None:
    path = host.config.state_dir / STATE_CANARY
    with watching(host) as watch:
        since = boottime_ms()
        assert len(path.read_bytes()) == CANARY_BYTES and path.stat().st_mode & 0o777 == 0o600
        event = watch.touched(since)
    assert (event["subject"], event["fields"]["decoy"]) == ("host", f"file {path}")


def test_looking_at_names_opens_nothing(host: RunningHost) -> None:
    before = [event for event in events(host) if event["name"] == "decoy_touched"]
    path = host.config.state_dir / STATE_CANARY
    assert path.stat() and path in list(host.config.state_dir.iterdir())
    assert host.cli("sandbox", "explain", "third", CANARY).stdout.count("a decoy") == 1
    with watching(host) as watch, host.client():
        watch.next("session_opened")
    assert [event for event in events(host) if event["name"] == "decoy_touched"] == before
