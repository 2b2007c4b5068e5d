"""A database of a component on a real host: sealed, killed under calls, upgraded, and refused in clear sentences."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from os import EX_UNAVAILABLE

import pytest
from attackers.arena import PACKAGE
from hosts.reloading_host import edit, reload, seal_host
from hosts.running_host import RunningHost, running
from probes.sandbox_runner import MODES

from tlsrt import CallError

KEEPER = "captured.keeper:Keeper"
DIARY = "captured.keeper:Diary"
COMPONENTS = {
    "third/keeper": {"class": KEEPER, "needs": {"state_mb": 8}},
    "third/diary": {"class": DIARY, "needs": {"disk_threads": 1}},
}


@pytest.fixture(scope="module", params=MODES)
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    policy = {"client/admin -> third/keeper": "*", "client/admin -> third/diary": "*"}
    yield from running(request, components=COMPONENTS, policy=policy, packages=[PACKAGE], mode=request.param)


def test_what_it_acknowledged_is_there_after_it_was_killed_under_calls(host: RunningHost) -> None:
    kept: list[str] = []

    def add() -> None:
        client = host.client()
        for number in range(10_000):
            try:
                client.call("third/keeper", "add", f"{number}")
            except CallError:
                return
            kept.append(f"{number}")

    for wanted in (20, 20):
        kept.clear()
        writer = threading.Thread(target=add)
        writer.start()
        while len(kept) < wanted and writer.is_alive():
            writer.join(0.002)
        host.respawn("third.keeper")
        writer.join()
        there = host.client().call("third/keeper", "texts")
        assert kept in (there[-len(kept) :], there[-len(kept) - 1 : -1]), "the last one may have happened"
    assert host.client().call("third/keeper", "back_up") == "data.backup.sqlite"
    assert host.loop("third.keeper")["violations"] == 0


def test_the_thread_of_the_database_is_the_only_one(host: RunningHost) -> None:
    assert host.client().call("third/keeper", "threads") is False


def test_a_strangers_component_waits_for_its_disk_in_a_thread_as_those_of_tlsrt_do(host: RunningHost) -> None:
    assert host.client().call("third/diary", "write", "dear diary") == 10
    assert host.client().call("third/diary", "threads") == ["MainThread", "diary-disk"]
    assert (host.config.state_dir / "third.diary/diary/diary").read_text() == "dear diary"


def test_a_database_without_room_is_told_in_one_sentence(host: RunningHost) -> None:
    after = len(host.console)
    wrong = {"third/homeless": {"class": KEEPER}, "third/threadless": {"class": DIARY}}
    edit(host, lambda document: document["components"].update(wrong))
    seal_host(host)
    reload(host, code=EX_UNAVAILABLE)
    for name in ("homeless", "threadless"):
        host.wait_for(rf"^third\.{name} +failed", after=after)
    sentence = "third/homeless declares a database: put `state_mb: N` under its needs, the room for it"
    assert sentence in host.log("third.homeless")
    sentence = "third/threadless makes disk threads: put `disk_threads: 1` under its needs"
    assert sentence in host.log("third.threadless")
    edit(host, lambda document: [document["components"].pop(name) for name in wrong])


def test_a_newer_database_is_refused_and_its_component_alone_is_down(host: RunningHost) -> None:
    before = host.client().call("third/keeper", "texts")
    after = len(host.console)
    edit(host, lambda document: document["components"]["third/keeper"].update({"class": "captured.keeper:OlderKeeper"}))
    seal_host(host)
    reload(host, code=EX_UNAVAILABLE)
    host.wait_for(r"^third\.keeper +(died|failed)", after=after)
    sentence = "cannot open the database of third/keeper: it has had 2 steps, and this version of the component knows 1"
    assert sentence in host.log("third.keeper")
    edit(host, lambda document: document["components"]["third/keeper"].update({"class": KEEPER}))
    seal_host(host)
    after = len(host.console)
    reload(host)
    host.wait_for(r"^third\.keeper +active", after=after)
    assert host.client().call("third/keeper", "texts") == before
