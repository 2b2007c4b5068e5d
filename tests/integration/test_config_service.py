"""The configuration service on a real host: rights of subjects, news to a client, kills while it is written."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from attackers.killed_writer import KilledWriter
from hosts.running_host import RunningHost, running

from tlsrt import Client, Denied, InvalidArgument

CONFIG = "secondary/config"
DOCUMENTS = {
    "house": {
        "fields": {
            "port": {"type": "int", "low": 1, "high": 65535, "default": 1883},
            "host": {"type": "str", "pattern": "[a-z.]+"},
        },
        "read": ["client/*"],
        "write": ["client/admin"],
    },
    **{
        f"n{number}": {"fields": {"n": {"type": "int"}}, "read": ["client/admin"], "write": ["client/admin"]}
        for number in range(40)
    },
}


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    extra = {"supervision": {"restart": {"deaths": 1000, "cap_s": 0.05}}}
    for host in running(request, clients=["kiosk"], extra=extra):
        words = ["--option", f"documents={json.dumps(DOCUMENTS)}", "--allow", 'client/*: "*"']
        added = host.cli("component", "add", CONFIG, "--yes", *words)
        assert added.returncode == 0, added.stdout + added.stderr
        yield host


def test_a_change_reaches_who_watches_and_rights_hold(host: RunningHost) -> None:
    with host.client() as admin, host.client("kiosk") as kiosk:
        watch = kiosk.stream(CONFIG, "watch", "house")
        assert next(watch)["values"] == {"port": 1883, "host": None}
        admin.call(CONFIG, "put", "house", {"port": 8883, "host": "broker.lan"}, comment="moved")
        assert next(watch)["values"] == {"port": 8883, "host": "broker.lan"}
        assert admin.call(CONFIG, "history", "house")[0]["author"] == "client/admin"
        with pytest.raises(Denied, match="client/kiosk may not write"):
            kiosk.call(CONFIG, "put", "house", {"port": 1})
        with pytest.raises(Denied):
            kiosk.call(CONFIG, "get", "n1")
        with pytest.raises(InvalidArgument, match="port: expected at most 65535"):
            admin.call(CONFIG, "put", "house", {"port": 70000})
        admin.call(CONFIG, "rollback", "house", 0)
        assert next(watch)["values"] == {"port": 1883, "host": None}


def put(client: Client, name: str, number: int) -> int:
    revision: int = client.call(CONFIG, "put", name, {"n": number})["revision"]
    return revision


def get(client: Client, name: str) -> tuple[int, object]:
    found: dict[str, Any] = client.call(CONFIG, "get", name)
    return found["revision"], found["values"]["n"]


def test_kills_at_any_point_lose_nothing_acknowledged(host: RunningHost) -> None:
    writer = KilledWriter(host, "secondary.config", put, get)
    writer.run(20, random.randrange(1 << 30))


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_100_kills_lose_nothing_acknowledged(host: RunningHost) -> None:
    writer = KilledWriter(host, "secondary.config", put, get)
    writer.run(100, random.randrange(1 << 30))
    print("acknowledged:", writer.acknowledged)
