"""A door with a process of its own: started, confined and restarted by itself, and what its clients see of that."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.reloading_host import assert_one_boundary
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.errors import CallError

DOOR = "primary.door"
POLICY = {"client/admin -> third/io": "*", "client/admin -> primary/*": "*", "client/admin -> secondary/store": "*"}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request, policy=POLICY, extra={"door": {"process": "own"}})


def another(host: RunningHost, name: str, pid: int) -> None:
    host.until(
        lambda document: any(
            one["name"] == name and one["state"] == "active" and one["pid"] != pid for one in document["loops"]
        ),
        f"another active {name}",
    )


def changed(host: RunningHost, before: dict[str, int]) -> set[str]:
    return {name for name, pid in host.pids().items() if before[name] != pid}


def uid_of(pid: int) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:"))
    return int(line.split()[1])


def test_it_is_a_process_of_its_own_that_is_told_and_attested_as_any(host: RunningHost) -> None:
    assert host.client().call("third/io", "list") == []
    entry, primary = host.loop(DOOR), host.loop("primary")
    assert entry["components"] == [] and entry["sandbox"]["waived"] == primary["sandbox"]["waived"]
    assert entry["sandbox"]["profile"] != primary["sandbox"]["profile"]
    if os.geteuid() == 0:
        assert uid_of(host.pids()[DOOR]) != uid_of(host.pids()["primary"])
    assert DOOR in host.cli("status").stdout
    assert_one_boundary(host)


def test_primary_sees_no_proc_and_the_door_no_folder_for_files(host: RunningHost) -> None:
    assert host.cli("sandbox", "explain", DOOR, "/proc/self/fd").returncode == 0
    assert host.cli("sandbox", "explain", "primary", "/proc/self/fd").returncode == 1
    assert not (host.config.state_dir / DOOR).exists() or not any((host.config.state_dir / DOOR).iterdir())
    listening = {name: len(sockets_of(pid)) for name, pid in host.pids().items() if name in ("primary", DOOR)}
    assert listening[DOOR] == 1 and listening["primary"] == 0


def sockets_of(pid: int) -> set[str]:
    """Return the inodes of the sockets of the door's port that a process holds."""
    mine = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in listening if row[3] == "0A" and f"socket:[{row[9]}]" in mine}


def test_its_death_ends_no_other_process_and_clients_come_again(host: RunningHost) -> None:
    client = host.client()
    client.call("third/io", "list")
    before, session = host.pids(), client.session_info["session"]
    host.kill(DOOR)
    assert client.call("third/io", "list", idempotent=True, timeout_s=20) == []
    another(host, DOOR, before[DOOR])
    assert changed(host, before) == {DOOR}
    assert client.session_info["session"] != session, "its session ended with its connection"


def test_primarys_death_leaves_the_door_and_ends_the_connections(host: RunningHost) -> None:
    client = host.client()
    client.call("third/io", "list")
    before = host.pids()
    host.kill("primary")
    assert client.call("third/io", "list", idempotent=True, timeout_s=20) == []
    another(host, "primary", before["primary"])
    assert changed(host, before) == {"primary"}


def test_an_operator_restarts_it_and_calls_in_flight_are_answered(host: RunningHost) -> None:
    client, before = host.client(), host.pids()
    client.call("third/io", "list")
    assert host.cli("restart", DOOR).returncode == 0
    another(host, DOOR, before[DOOR])
    assert client.call("third/io", "list", idempotent=True, timeout_s=20) == []


def test_a_reload_does_not_move_it_and_says_what_to_do(host: RunningHost) -> None:
    before, text = host.pids(), host.config_path.read_text()
    host.config_path.write_text(text.replace("process: own", "process: shared"))
    try:
        assert host.cli("seal").returncode == 0
        refused = host.cli("reload")
        assert refused.returncode != 0
        assert "door.process cannot change while tlsrt runs" in refused.stderr and "stop tlsrt" in refused.stderr
        assert "Traceback" not in refused.stderr and changed(host, before) == set()
    finally:
        host.config_path.write_text(text)
        assert host.cli("seal").returncode == 0
    assert host.cli("reload").returncode == 0


def test_an_authority_that_is_replaced_gives_clients_their_sessions_again(host: RunningHost) -> None:
    client, before = host.client(), host.pids()
    client.call("third/io", "list")
    host.kill("authority")
    host.until(lambda status: status["authority"]["pid"] not in (None, before["authority"]), "another authority")
    assert client.call("third/io", "list", idempotent=True, timeout_s=20) == []
    assert host.client().call("third/io", "list", idempotent=True, timeout_s=20) == []
    assert changed(host, before) == {"authority"}


def test_what_was_acknowledged_under_load_is_there_after_each_kill(host: RunningHost) -> None:
    """Each put is answered, or ends with one error of a call; what was answered is there, and nothing hangs."""
    acknowledged: list[set[str]] = [set() for _ in range(4)]
    errors: list[str] = []
    done = threading.Event()

    def put(number: int, client: Client) -> None:
        at = 0
        while not done.is_set():
            key = f"k{number}.{at}"
            at += 1
            try:
                client.call("secondary/store", "put", key, at, timeout_s=20)
            except CallError as error:
                errors.append(type(error).__name__)
            else:
                acknowledged[number].add(key)

    clients = [host.client() for _ in acknowledged]
    threads = [threading.Thread(target=put, args=(number, client)) for number, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before, counts = host.pids()[DOOR], [len(keys) for keys in acknowledged]
            host.until(
                lambda _, counts=counts: all(  # type: ignore[misc]
                    len(keys) > count + 20 for keys, count in zip(acknowledged, counts, strict=True)
                ),
                "calls of all clients are answered", timeout_s=30,
            )  # fmt: skip
            host.kill(DOOR)
            another(host, DOOR, before)
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert set(errors) <= {"OutcomeUnknown", "Unavailable"}, errors
    reader = host.client()
    for keys in acknowledged:
        for key in keys:
            assert reader.call("secondary/store", "get", key, idempotent=True) is not None, key
