"""The systemd that tests boot: it is real, it is alone, and it cannot change the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.booted_systemd import BootedSystemd, booted

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    yield from booted(request)


def test_it_is_process_1_of_namespaces_of_its_own(machine: BootedSystemd) -> None:
    assert machine.do("cat", "/proc/1/comm").strip() == "systemd"
    for kind in ("mnt", "pid", "net", "uts", "ipc", "cgroup"):
        assert os.readlink(f"/proc/{machine.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


def test_a_service_with_readiness_and_a_credential_runs(machine: BootedSystemd) -> None:
    machine.write("/etc/test.key", "words", 0o600)
    script = 'echo "has $(cat $CREDENTIALS_DIRECTORY/key)"; systemd-notify --ready --status=fine; sleep 600'
    machine.write(
        "/run/systemd/system/demo.service",
        f"[Service]\nType=notify\nNotifyAccess=all\nDynamicUser=yes\nLoadCredential=key:/etc/test.key\n"
        f"ExecStart=/bin/sh -c '{script.replace('$', '$$')}'\n",
    )
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "demo")
    assert machine.show("demo", "StatusText") == "fine"
    assert [entry["MESSAGE"] for entry in machine.journal("-u", "demo", "_COMM=sh")] == ["has words"]
    machine.systemctl("stop", "demo")


def test_the_clock_and_the_files_of_the_machine_stay(machine: BootedSystemd) -> None:
    assert machine.run("date", "-s", "2001-01-01").returncode != 0
    machine.write("/etc/written-inside", "x")
    assert not Path("/etc/written-inside").exists()


def test_tlsrt_is_installed_for_every_user(machine: BootedSystemd) -> None:
    assert machine.do("setpriv", "--reuid=65534", "--clear-groups", "tlsrt-supervisor", "version").startswith("tlsrt ")
