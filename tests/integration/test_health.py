"""The health of components on a running host: what status shows, what ends a loop, and what the host changes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running

from tlsrt.sandbox.cgroup.cgroup import own_place

SHOWN, RESTARTED, BLUNT, READER = "third/ailing", "external/ailing", "forth/blunt", "secondary/reader"
OFTEN = {"every_s": 0.5, "timeout_s": 0.5, "fails": 2}


@pytest.fixture(scope="module")
def link() -> Iterator[Path]:
    """A link of the host, as /etc/localtime is one, that a loop's profile names."""
    base = Path(tempfile.mkdtemp(prefix="tlsrt-link."))
    base.chmod(0o755)
    for name in ("old", "new"):
        (base / name).mkdir()
        (base / name / "there").write_text(name)
    (base / "link").symlink_to("old")
    yield base / "link"
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, link: Path) -> Iterator[RunningHost]:
    ailing = {"class": "captured.ailing:Ailing", "process": "shared"}
    yield from running(
        request, packages=[PACKAGE],
        components={
            SHOWN: {**ailing, "health": {**OFTEN, "then": "none"}},
            RESTARTED: {**ailing, "health": OFTEN},
            BLUNT: {"class": "captured.ailing:Blunt", "process": "shared", "health": OFTEN},
            READER: {"class": "captured.reader:Reader", "process": "shared", "needs": {"read": [str(link)]}},
            "secondary/store": {"health": {"every_s": 0.5}},
        },
        policy={f"client/admin -> {address}": "*" for address in (SHOWN, RESTARTED, BLUNT, READER)},
    )  # fmt: skip


def component(document: dict[str, Any], address: str) -> dict[str, Any]:
    loop, name = address.split("/")
    processes = [entry for entry in document["loops"] if entry["name"].partition(".")[0] == loop]
    found: dict[str, Any] = next(one for entry in processes for one in entry["components"] if one["name"] == name)
    return found


def until(host: RunningHost, address: str, health: str, fails: int = 0) -> dict[str, Any]:
    def as_wanted(document: dict[str, Any]) -> bool:
        found = component(document, address)
        return bool(found["health"] == health and found["fails"] >= fails)

    return component(host.until(as_wanted, f"{address} {health}"), address)


def test_every_component_is_shown_with_its_health(host: RunningHost) -> None:
    for address in (SHOWN, RESTARTED, BLUNT, "secondary/store", "primary/kernel", "forth/power", "third/io"):
        found = until(host, address, "good")
        assert found["fails"] == 0 and found["checked_s"] >= 0
    assert component(host.status(), READER) == {
        "name": "reader", "health": "unchecked", "fails": 0, "checked_s": None, "then": "restart", "after": 3,
        "ready": None, "tasks": 0, "task_restarts": 0,
    }  # fmt: skip
    assert component(host.status(), "secondary/store")["then"] == "none"


@pytest.mark.parametrize(("how", "health", "words"), [
    ("words", "failing", "the sky is falling"), ("raise", "failing", "RuntimeError: the sky has fallen"),
    ("slow", "silent", "it said nothing in time"), ("deaf", "silent", "it said nothing in time"),
])  # fmt: skip
def test_one_that_is_not_well_is_only_shown_if_so_configured(
    host: RunningHost, how: str, health: str, words: str
) -> None:
    client, after, incarnation = host.client(), len(host.console), host.loop("third")["incarnation"]
    client.call(SHOWN, "become", how)
    assert until(host, SHOWN, health, 3)["then"] == "none"
    host.wait_for(rf"^third +unwell +[0-9]+ checks in a row of {SHOWN} ", after=after)
    assert f"not healthy (3 in a row): {words}" in host.log("third")
    shown = host.cli("status").stdout
    assert f"{SHOWN} is {health}: " in shown and "checks in a row failed, see the log of third" in shown
    client.call(SHOWN, "become", "good")
    until(host, SHOWN, "good")
    host.wait_for(rf"^third +well +{SHOWN}$", after=after)
    assert client.call(SHOWN, "counts")["most"] == 1, "no check begins while another is under way"
    assert host.loop("third")["incarnation"] == incarnation


@pytest.mark.parametrize("how", ["words", "deaf"])
def test_one_that_is_not_well_again_and_again_restarts_its_loop(host: RunningHost, how: str) -> None:
    client, after = host.client(), len(host.console)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(host.client().call, RESTARTED, "work", 2.5)  # longer than it takes to be found unwell
        client.call(RESTARTED, "become", how)
        line = host.wait_for("^external +died +health: 2 checks in a row of external/ailing ", after=after)
        assert work.result(10) >= 1, "a call that is under way is answered"
    assert str(host.config.log_dir / "external.log") in line
    host.wait_for("^external +active ", after=after)
    until(host, RESTARTED, "good")
    death = host.loop("external")["last_death"]
    assert death["cause"] == "health" and death["sentence"].startswith("health: 2 checks in a row of external/ailing ")
    assert client.call(RESTARTED, "counts")["asked"] >= 1


def test_a_check_that_blocks_is_a_hang_like_any_other(host: RunningHost) -> None:
    after = len(host.console)
    host.client().call(BLUNT, "become", "block")
    host.wait_for("^forth +died +heartbeat: no beat for 1.[0-9]+ s", after=after)
    host.wait_for("^forth +active ", after=after)
    until(host, BLUNT, "good")


def test_a_link_that_changes_on_the_host_ends_no_loop_and_is_seen_by_the_next_one(
    host: RunningHost, link: Path
) -> None:
    client, before = host.client(), host.loop("secondary")
    assert client.call(READER, "text", str(link / "there")) == "old"
    os.symlink("new", link.with_name("next"))
    os.replace(link.with_name("next"), link)
    later = before["uptime_s"] + 1.5  # three rounds
    host.until(lambda document: _loop(document, "secondary")["uptime_s"] > later, "a later time")
    assert host.loop("secondary")["incarnation"] == before["incarnation"]
    assert client.call(READER, "text", str(link / "there")) == "old"
    host.respawn("secondary")
    assert host.client().call(READER, "text", str(link / "there"), timeout_s=10) == "new"


def test_a_loop_that_differs_is_killed_within_a_second(host: RunningHost) -> None:
    """Each is moved out of its control group, at another moment of a round; it could do nothing so plain itself."""
    taken: list[float] = []
    for loop in ("third", "forth", "external"):
        pid, after, began = host.pids()[loop], len(host.console), time.monotonic()
        Path(own_place().folder, "cgroup.procs").write_text(str(pid))
        host.wait_for(f"^{loop} +died +attestation: its control group is ", after=after)
        taken.append(time.monotonic() - began)
        host.wait_for(f"^{loop} +active ", after=after)
    assert sorted(taken)[1] < 1.0 and max(taken) < 5.0, taken  # a busy machine may be late once


def _loop(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in document["loops"] if entry["name"] == name)
    return found
