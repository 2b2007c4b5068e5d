"""The life of a component on a running host: readiness, tasks of its own, and what the operator sees of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

from tlsrt import Unavailable

PACKAGE = Path(__file__).parent.parent / "hosts" / "life_package" / "life"
BRIDGE = "third/bridge"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, packages=[PACKAGE], components={BRIDGE: {"class": "life:Bridge"}},
        policy={f"client/admin -> {BRIDGE}": "*"},
    )  # fmt: skip


def component(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["loops"] if one["name"] == "third.bridge")["components"][0]
    return found


def test_calls_wait_for_a_component_that_is_not_ready_and_nobody_is_restarted(host: RunningHost) -> None:
    client, after, incarnation = host.client(), len(host.console), host.loop("third.bridge")["incarnation"]
    host.until(lambda document: component(document)["ready"] is True and component(document)["tasks"] == 2, "ready")
    client.call(BRIDGE, "later", connected=True, seconds=2.5)
    client.call(BRIDGE, "become", connected=False)
    host.wait_for(rf"^third.bridge +unready +{BRIDGE} is not ready, see ", after=after)
    assert f"{BRIDGE} is not ready, see the log of third.bridge" in host.cli("status").stdout
    assert "not ready: no broker" in host.log("third.bridge")
    with pytest.raises(Unavailable, match="third/bridge is not ready: try again"):
        client.call(BRIDGE, "figures", timeout_s=0.3)
    assert "pid" in client.call(BRIDGE, "describe")["methods"]
    assert client.call(BRIDGE, "figures")["pumped"] >= 1, "it waited until the component was ready"
    host.wait_for(rf"^third.bridge +ready +{BRIDGE}$", after=after)
    assert host.loop("third.bridge")["incarnation"] == incarnation


def test_a_task_that_dies_is_told_and_started_again_until_its_process_has_failed(host: RunningHost) -> None:
    client, after = host.client(), len(host.console)
    pumped = client.call(BRIDGE, "break_pipe")
    host.until(lambda document: component(document)["task_restarts"] == 1, "started again")
    log = host.log("third.bridge")
    assert "task pump has ended with OSError: broken pipe; it starts again in " in log
    assert f"status: pump {pumped + 1}" in log
    client.call(BRIDGE, "forget")
    client.call(BRIDGE, "figures")
    assert "task forgotten (Bridge.forget.<locals>.dies) has died, and no code awaited it" in host.log("third.bridge")
    client.call(BRIDGE, "break_always")
    words = "failed: a task of third/bridge ended too often, see "
    host.wait_for(f"^third.bridge +died +{words}", after=after)
    assert "task pump has ended with OSError: broken pipe, more than 5 times in 60 s" in host.log("third.bridge")
    host.wait_for("^third.bridge +active ", after=after)
    death = host.loop("third.bridge")["last_death"]
    assert death["cause"] == "component" and death["sentence"].startswith(words)
    assert client.call(BRIDGE, "figures")["pumped"] == 1
    assert not [line for line in host.console[after:] if " died " in line and "third.bridge" not in line]


def test_tasks_end_before_stop_is_called(host: RunningHost) -> None:
    after = len(host.console)
    assert host.cli("restart", "third.bridge").returncode == 0
    host.wait_for("^third.bridge +active ", after=after)
    assert "stop: the task has ended before: True" in host.log("third.bridge")
