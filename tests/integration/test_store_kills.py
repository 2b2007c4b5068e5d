"""The store in a real loop: namespaces through TLS, a captured neighbour, kills while a client writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from attackers.killed_writer import KilledWriter
from hosts.running_host import RunningHost, running

from tlsrt import Client
from tlsrt.errors import Denied, Failed

STORE = "secondary/store"
NAMESPACES = {"kept": {"read": ["client/admin"], "write": ["client/admin"], "max_keys": 50}}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, clients=["nosy"], policy={"client/* -> secondary/store": "*"},
        components={STORE: {"options": {"namespaces": NAMESPACES}}},
        extra={"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}},
    )  # fmt: skip


def test_a_client_that_is_not_named_gets_nothing_of_a_namespace(host: RunningHost) -> None:
    with host.client() as client, host.client("nosy") as nosy:
        client.call(STORE, "put", "a", "kept", namespace="kept")
        client.call(STORE, "put", "a", "own", namespace="client/admin")
        client.call(STORE, "put", "a", "of all")
        calls: list[tuple[object, ...]] = [
            ("get", "a"), ("entry", "a"), ("keys",), ("history", "a"), ("version", "a", 1), ("put", "a", 1),
            ("delete", "a"),
        ]  # fmt: skip
        for method, *words in calls:
            for namespace in ("kept", "client/admin", "nowhere"):
                with pytest.raises(Denied, match=f"client/nosy may not (read|write) in namespace '{namespace}'"):
                    nosy.call(STORE, str(method), *words, namespace=namespace)
        with pytest.raises(Denied):
            next(nosy.stream(STORE, "watch", namespace="kept"))
        assert nosy.call(STORE, "get", "a") == "of all"
        assert client.call(STORE, "get", "a", namespace="kept") == "kept"


def kill_while_writing(host: RunningHost, kills: int, seed: int) -> None:
    def write(client: Client, name: str, number: int) -> int:
        return int(client.call(STORE, "put", name, number, namespace="kept")["revision"])

    def read(client: Client, name: str) -> tuple[int, object]:
        found = client.call(STORE, "entry", name, namespace="kept", timeout_s=60)
        return found["revision"], found["value"]

    writer = KilledWriter(host, "secondary", write, read)
    writer.run(kills, seed)
    print("acknowledged:", writer.acknowledged)
    with host.client() as client:
        left = 50 - len(client.call(STORE, "keys", namespace="kept"))
        for number in range(left):
            client.call(STORE, "put", f"more{number}", 1, namespace="kept")
        with pytest.raises(Failed, match="namespace 'kept' holds 50 names and may hold 50"):
            client.call(STORE, "put", "one more", 1, namespace="kept")
        for number in range(left):
            client.call(STORE, "delete", f"more{number}", namespace="kept")
    host.stop()
    path = next(host.config.state_dir.glob("secondary/**/store.sqlite"))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    host.start()


def test_what_was_acknowledged_is_there_whenever_it_was_killed(host: RunningHost) -> None:
    kill_while_writing(host, 10, 7)


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_a_store_that_is_killed_100_times_keeps_what_it_acknowledged(host: RunningHost) -> None:
    kill_while_writing(host, 100, 8)
