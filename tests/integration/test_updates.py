"""The updates service with real apt and dpkg on a root and an archive that the test makes; never the machine's own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.apt_machine import Machine
from hosts.running_host import RunningHost, running

from tlsrt import Client, Conflict, Denied, InvalidArgument, Rejected, Unavailable

UPDATES = "secondary/updates"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="dpkg installs by root")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    base = Path(tempfile.mkdtemp(prefix="tlsrt-updates.", dir="/var/tmp"))  # not in /tmp: apt has a /tmp of its own
    base.chmod(0o755)
    made = Machine(base)
    made.install(made.publish("kettle", "1.0", conffile="heat=1\n"))
    made.install(made.publish("lamp", "1.0"))
    yield made
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, machine: Machine) -> Iterator[RunningHost]:
    base = machine.base
    reads = [{"path": str(path), "why": "the machine"} for path in (machine.root, base / "results")]
    program = [
        str(machine.root),
        str(machine.config),
        str(machine.archive),
        "/usr/share/dpkg",
        "/etc/dpkg",
        "/usr/lib/apt/methods",
    ]
    for host in running(request, clients=["kiosk"]):
        words = ["--needs", f"read={json.dumps(reads)}", "--needs", f"programs.apt.read={json.dumps(program)}"]
        words += ["--needs", f"write={json.dumps([{'path': str(base / 'orders'), 'why': 'orders'}])}"]
        words += ["--needs", f"programs.apt.environment={json.dumps({'APT_CONFIG': str(machine.config)})}"]
        for key, path in {
            "orders": base / "orders", "results": base / "results", "lists": machine.root / "var/lib/apt/lists",
            "status": machine.root / "var/lib/dpkg/status",
        }.items():  # fmt: skip
            words += ["--option", f"{key}={path}"]
        words += ["--allow", 'client/admin: "*"', "--allow", "client/kiosk: [status, plan]"]
        added = host.cli("component", "add", UPDATES, "--yes", *words)
        assert added.returncode == 0, added.stdout + added.stderr
        yield host


@pytest.fixture
def client(host: RunningHost) -> Iterator[Client]:
    with host.client() as client:
        yield client


def ended(client: Client) -> dict[str, Any]:
    """Follow an order to its end; return its state."""
    said: list[dict[str, Any]] = list(client.stream(UPDATES, "progress", timeout_s=60))
    return said[-1]


def test_refresh_plan_apply(client: Client, machine: Machine) -> None:
    assert client.call(UPDATES, "plan")["steps"] == []
    (machine.root / "etc/kettle.conf").write_text("heat=9\n")
    machine.publish("kettle", "2.0", depends="spout", conffile="heat=2\n")
    machine.publish("spout", "0.1")
    with machine.unit():
        client.call(UPDATES, "refresh", timeout_s=30)
        assert ended(client)["state"] == "done"
        status = client.call(UPDATES, "status")
        assert (status["pending"], status["can_apply"]) == (2, True)
        assert status["lists_age_s"] < 60
        plan = client.call(UPDATES, "plan")
        assert [(one["name"], one["installed"], one["version"]) for one in plan["steps"]] == [
            ("kettle", "1.0", "2.0"), ("spout", None, "0.1"),
        ]  # fmt: skip
        client.call(UPDATES, "apply", plan["id"], timeout_s=30)
        assert ended(client)["state"] == "done"
    assert (machine.version("kettle"), machine.version("spout"), machine.version("lamp")) == ("2.0", "0.1", "1.0")
    assert (machine.root / "etc/kettle.conf").read_text() == "heat=9\n", "an edited file stays"


def test_a_plan_that_is_not_that_any_more_is_refused_at_both_places(client: Client, machine: Machine) -> None:
    machine.publish("lamp", "2.0")
    with machine.unit():
        client.call(UPDATES, "refresh", timeout_s=30)
        ended(client)
        plan = client.call(UPDATES, "plan")["id"]
        machine.publish("lamp", "3.0")
        client.call(UPDATES, "refresh", timeout_s=30)
        ended(client)
    with pytest.raises(Conflict, match="make a new plan"):
        client.call(UPDATES, "apply", plan)
    (machine.base / "orders" / "order").write_text(f"apply {plan}\n")  # as a captured component would
    machine.carry_out()
    state = json.loads((machine.base / "results" / "state.json").read_text())
    assert (state["state"], machine.version("lamp")) == ("failed", "1.0")
    assert "not that plan any more" in state["message"]


def test_a_lock_of_another_is_one_sentence(client: Client, machine: Machine) -> None:
    plan = client.call(UPDATES, "plan")["id"]
    with open(machine.root / "var/lib/dpkg/lock-frontend", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        with machine.unit():
            client.call(UPDATES, "apply", plan, timeout_s=30)
            assert "in use by another program" in ended(client)["message"]
    assert machine.version("lamp") == "1.0"


def test_without_the_unit_an_order_is_taken_back(client: Client, machine: Machine) -> None:
    with pytest.raises(Unavailable, match=r"systemctl enable --now tlsrt-updates\.path"):
        client.call(UPDATES, "refresh", timeout_s=30)
    assert not (machine.base / "orders" / "order").exists()


def test_who_may_look_may_not_apply(host: RunningHost, client: Client) -> None:
    with host.client("kiosk") as kiosk:
        plan = kiosk.call(UPDATES, "plan")["id"]
        with pytest.raises((Denied, Rejected)):
            kiosk.call(UPDATES, "apply", plan)
    for wrong in ("x", "../order", "0" * 63):
        with pytest.raises(InvalidArgument):
            client.call(UPDATES, "apply", wrong)
