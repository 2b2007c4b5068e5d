"""The units of secondary/updates in a systemd that the test boots: orders of another uid, carried out by real apt."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.apt_machine import Machine
from hosts.booted_systemd import HOME, BootedSystemd, booted

from tlsrt.apt_plan import SIMULATE, UPGRADE, plan_untrusted
from tlsrt.supervisor.cli.service.packaged import PROGRAM
from tlsrt.supervisor.cli.service.update_units import FOLDER, update_files

ORDER, RESULTS, UID = FOLDER / "orders/order", FOLDER / "results", "1234"
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(os.geteuid() != 0, reason="a systemd is booted by root"),
]


@pytest.fixture(scope="module")
def packages() -> Iterator[Machine]:
    """Packages that are installed, and newer ones: below /var/tmp, which the booted machine has copy-on-write."""
    base = Path(tempfile.mkdtemp(prefix="tlsrt-updates.", dir="/var/tmp"))
    base.chmod(0o755)
    made = Machine(base)
    made.install(made.publish("kettle", "1.0"))
    made.publish("kettle", "2.0")
    yield made
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, packages: Machine) -> Iterator[BootedSystemd]:
    for machine in booted(request):
        for file in update_files():
            machine.write(str(file.path), (file.text or "").replace(str(PROGRAM), f"{HOME}/env/bin/tlsrt-supervisor"))
        machine.write(
            "/etc/systemd/system/tlsrt-updates.service.d/root.conf",
            f"[Service]\nEnvironment=APT_CONFIG={packages.config}\n",
        )
        machine.do("systemd-tmpfiles", "--create", "tlsrt-updates.conf")
        machine.do("install", "-d", "-m", "0700", "-o", UID, str(FOLDER / "orders"))
        machine.systemctl("daemon-reload")
        machine.systemctl("enable", "--now", "tlsrt-updates.path")
        yield machine


def order(machine: BootedSystemd, script: str) -> None:
    """Do something in the folder of orders, as the component's uid."""
    words = ["setpriv", f"--reuid={UID}", "--clear-groups", "sh", "-c", f"cd {FOLDER}/orders && {script}"]
    machine.do(*words)


def state_of(machine: BootedSystemd, words: str) -> dict[str, Any]:
    """Wait for the end of an order and return what came of it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = machine.run("cat", str(RESULTS / "state.json"))
        if found.returncode == 0:
            state: dict[str, Any] = json.loads(found.stdout)
            if state["order"] == words and state["state"] != "running":
                return state
        time.sleep(0.05)
    raise AssertionError(machine.do("systemctl", "status", "tlsrt-updates.path", "tlsrt-updates.service"))


def gone(machine: BootedSystemd) -> None:
    """Wait until there is no order."""
    end = time.monotonic() + 60
    while machine.run("test", "-e", str(ORDER), "-o", "-L", str(ORDER)).returncode == 0:
        assert time.monotonic() < end, machine.do("systemctl", "status", "tlsrt-updates.service")
        time.sleep(0.05)


def test_orders_of_the_component_are_carried_out(machine: BootedSystemd, packages: Machine) -> None:
    order(machine, "echo refresh > new && mv new order")
    assert state_of(machine, "refresh")["state"] == "done"
    said = machine.do("env", f"APT_CONFIG={packages.config}", "apt-get", *SIMULATE, *UPGRADE)
    plan = plan_untrusted(said)
    assert [one.name for one in plan.steps] == ["kettle"]
    wrong = "0" * 64
    order(machine, f"echo apply {wrong} > new && mv new order")
    assert "not that plan any more" in state_of(machine, f"apply {wrong}")["message"]
    order(machine, f"echo apply {plan.id} > new && mv new order")
    assert state_of(machine, f"apply {plan.id}")["state"] == "done"
    assert machine.do("cat", f"{packages.root}/usr/share/kettle/version") == "2.0"
    assert packages.version("kettle") == "1.0", "outside nothing was changed"


def test_what_is_no_order_is_removed_and_the_units_go_on(machine: BootedSystemd) -> None:
    before = machine.do("cat", "/etc/passwd")
    for script in (
        "ln -s /etc/passwd order", "mkfifo order", "mkdir -p order/deep/folder && touch order/deep/file",
        "ln -s / order/up 2>/dev/null; mkdir order && ln -s /etc order/etc", "head -c 1000000 /dev/zero > order",
    ):  # fmt: skip
        order(machine, script)
        gone(machine)
    assert machine.do("cat", "/etc/passwd") == before
    order(machine, "echo refresh > new && mv new order")
    assert state_of(machine, "refresh")["state"] == "done"
    assert machine.show("tlsrt-updates.path", "ActiveState") == "active"


def test_the_component_cannot_write_results(machine: BootedSystemd) -> None:
    words = ["setpriv", f"--reuid={UID}", "--clear-groups", "touch", str(RESULTS / "state.json")]
    assert machine.run(*words).returncode != 0
