"""Imports, package data and warm_up of a component: before the seal all of it, afterwards what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from os import EX_UNAVAILABLE

import pytest
from attackers.arena import PACKAGE
from hosts.reloading_host import edit, reload, seal_host
from hosts.running_host import RunningHost, running

WARM = "captured.warm:Warm"
COMPONENTS = {
    "third/warm": {
        "class": WARM, "options": {"title": "x"}, "imports": ["captured.odd", "colorsys"], "data": ["data/w*.txt"]
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    policy = {"client/admin -> third/warm": "*"}
    yield from running(request, components=COMPONENTS, policy=policy, packages=[PACKAGE], extra={"measure": "strict"})


def test_it_reads_before_the_seal_and_afterwards_only_what_it_asked_for(host: RunningHost) -> None:
    client = host.client()
    assert client.call("third/warm", "warmed") == [["one", "two"], "x"]
    assert client.call("third/warm", "read", "data/words.txt") == "one two\n"
    assert client.call("third/warm", "read", "data/other.txt") == "PermissionError"
    assert client.call("third/warm", "read", "warm.py") == "PermissionError"
    assert client.call("third/warm", "load", "captured.odd") == "captured.odd"
    assert client.call("third/warm", "load", "colorsys") == "colorsys"
    assert client.call("third/warm", "load", "captured.everyday") == "ImportError"


def test_data_that_changed_after_the_seal_is_refused(host: RunningHost) -> None:
    (words,) = host.base.rglob("data/words.txt")
    before = words.read_text()
    words.write_text("three")
    done = host.cli("reload")
    words.write_text(before)
    assert done.returncode != 0 and "component/captured/data/words.txt" in done.stderr + done.stdout


def test_a_thread_or_an_error_in_warm_up_is_told_with_its_component(host: RunningHost) -> None:
    def add(document: dict[str, dict[str, object]]) -> None:
        for name in ("threaded", "broken"):
            document["components"][f"third/{name}"] = {"class": f"captured.warm:{name.title()}"}

    after = len(host.console)
    edit(host, add)
    seal_host(host)
    reload(host, code=EX_UNAVAILABLE)
    for name in ("threaded", "broken"):
        host.wait_for(rf"^third\.{name} +(failed|died)", after=after)
    assert "component third/threaded: its own code started a thread, which the seal would not hold" in host.log(
        "third.threaded"
    )
    assert "component third/broken: warm_up raised ValueError: no model there" in host.log("third.broken")
    assert host.client().call("third/warm", "read", "data/words.txt") == "one two\n"
