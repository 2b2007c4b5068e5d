"""A further process of a loop: started, confined, restarted and reloaded by itself, at the addresses of its loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.reloading_host import assert_one_boundary, outcomes, reload, seal_host, set_loop
from hosts.running_host import RunningHost, running

from tlsrt.config.processes import loop_of

FACTS = "primary.facts"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    policy = {"client/admin -> primary/*": "*", "client/admin -> third/io": "*"}
    yield from running(request, policy=policy)


def changed(host: RunningHost, before: dict[str, int]) -> set[str]:
    """Return which processes are others than before."""
    return {name for name, pid in host.pids().items() if before[name] != pid}


def uid_of(pid: int) -> int:
    """Return the uid that a process runs as."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:"))
    return int(line.split()[1])


def active(host: RunningHost, name: str, pid: int) -> None:
    host.until(
        lambda document: any(
            one["name"] == name and one["state"] == "active" and one["pid"] != pid for one in document["loops"]
        ),
        f"another active {name}",
    )


def test_it_answers_at_the_addresses_of_its_loop_and_is_a_process_of_its_own(host: RunningHost) -> None:
    client, entry = host.client(), host.loop(FACTS)
    assert client.call("primary/kernel", "uname")["system"] == "Linux"
    assert client.call("primary/hardware", "summary")["memory_total_bytes"]
    assert [one["name"] for one in entry["components"]] == ["kernel", "hardware"]
    assert [one["name"] for one in host.loop("primary")["components"]] == ["events"]
    assert entry["sandbox"]["profile"] != host.loop("primary")["sandbox"]["profile"]
    names = [loop["name"] for loop in host.status()["loops"]]
    assert loop_of(FACTS) == names[0] and names.index(FACTS) < names.index("secondary"), "behind its loop"
    uids = {name: uid_of(host.pids()[name]) for name in ("primary", FACTS, "external")}
    assert len(set(uids.values())) == (3 if os.geteuid() == 0 else 1)
    assert host.cli("sandbox", "explain", FACTS, "/sys/class").returncode == 0
    assert host.cli("sandbox", "explain", "primary", "/sys/class").returncode == 1
    assert_one_boundary(host)


def test_its_death_ends_no_session_and_no_other_process(host: RunningHost) -> None:
    client = host.client()
    client.call("third/io", "list")
    before, session = host.pids(), client.session_info["session"]
    host.kill(FACTS)
    active(host, FACTS, before[FACTS])
    assert client.call("third/io", "list") == []
    assert client.call("primary/kernel", "uname", idempotent=True)["system"] == "Linux"
    assert changed(host, before) == {FACTS}
    assert client.session_info["session"] == session
    assert {group["name"]: group["deaths"] for group in host.status()["supervision"]["groups"]}["primary"] == 0


def test_the_operator_restarts_it_alone_and_its_loop_without_it(host: RunningHost) -> None:
    for name in (FACTS, "primary"):
        before = host.pids()
        assert host.cli("restart", name).returncode == 0
        active(host, name, before[name])
        assert changed(host, before) == {name}
        assert host.client().call("primary/kernel", "uname")["system"] == "Linux"


def test_it_lives_on_when_primary_dies_and_serves_the_next_one(host: RunningHost) -> None:
    before = host.pids()
    host.respawn("primary")
    assert host.client().call("primary/kernel", "uname")["system"] == "Linux"
    assert changed(host, before) == {"primary"}


def test_a_reload_of_its_settings_concerns_it_alone(host: RunningHost) -> None:
    before = host.pids()
    set_loop(host, FACTS, memory_mb=300)
    seal_host(host)
    found = outcomes(reload(host))
    assert {name for name, outcome in found.items() if outcome != "unchanged"} == {FACTS}
    assert changed(host, before) <= {FACTS}
    assert host.client().call("primary/hardware", "cpu")["processors"]
    assert_one_boundary(host)


def test_its_sessions_are_revoked_by_its_name_and_by_that_of_its_loop(host: RunningHost) -> None:
    client = host.client()
    for name, hit in ((FACTS, {"primary/kernel", "primary/hardware"}),
                      ("primary", {"primary/kernel", "primary/hardware", "primary/events"})):  # fmt: skip
        done = host.cli("revoke", "loop", name)
        assert done.returncode == 0 and all(address in done.stdout for address in hit), done.stdout
        assert ("primary/events" in done.stdout) == ("primary/events" in hit)
        assert host.cli("restore", "loop", name).returncode == 0
        assert client.call("primary/kernel", "uname", timeout_s=30, idempotent=True)["system"] == "Linux"
