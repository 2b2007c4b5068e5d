"""tlsrt as a service of a real systemd, as a user without rights, under the unit that `install` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hosts.booted_systemd import BootedSystemd, booted

BUNDLE = {"TLSRT_BUNDLE": "/etc/tlsrt/admin.tlsrt"}
# Connects all the time, and reads a byte where there is one: a listening socket that is gone would refuse.
KNOCK = """
import socket, sys, time
made = refused = 0
print("knocking", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    try:
        socket.create_connection(("127.0.0.1", 7443), 20).close()
        made += 1
    except ConnectionRefusedError:
        refused += 1
    time.sleep(0.002)
print(made, refused)
"""


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    yield from booted(request)


def call(machine: BootedSystemd) -> str:
    return machine.do("tlsrt", "call", "primary/kernel", "uname", environment=BUNDLE)


def restarts(machine: BootedSystemd) -> int:
    return int(machine.show("tlsrt", "NRestarts"))


def test_a_dry_run_writes_nothing_and_install_returns_when_a_call_is_answered(machine: BootedSystemd) -> None:
    assert machine.do("tlsrt-supervisor", "init", "--system").endswith("next: tlsrt-supervisor install --now\n")
    said = machine.do("tlsrt-supervisor", "install", "--now", "--dry-run")
    assert "write /etc/systemd/system/tlsrt.service" in said and "ListenStream=127.0.0.1:7443" in said
    assert not machine.path("/etc/systemd/system/tlsrt.service").exists()
    said = machine.do("tlsrt-supervisor", "install", "--now")
    assert call(machine)
    assert "exposure level for tlsrt.service: 2.0" in said
    assert machine.show("tlsrt", "StatusText") == "5 loops, 7 components"


def test_it_runs_as_its_user_who_can_read_no_key_and_change_no_configuration(machine: BootedSystemd) -> None:
    main = machine.show("tlsrt", "MainPID")
    [uid] = [line.split()[1] for line in machine.do("cat", f"/proc/{main}/status").splitlines() if line[:4] == "Uid:"]
    assert uid == machine.do("id", "-u", "tlsrt").strip() != "0"
    for name in ("master.key", "ca.key", "server.key"):
        assert machine.run("setpriv", "--reuid", "tlsrt", "--clear-groups", "cat", f"/etc/tlsrt/{name}").returncode
    assert machine.run("setpriv", "--reuid", "tlsrt", "--clear-groups", "touch", "/etc/tlsrt/x").returncode


def test_root_asks_enrols_and_seals(machine: BootedSystemd) -> None:
    assert json.loads(machine.do("tlsrt-supervisor", "status", "--json"))["loops"]
    machine.do("tlsrt-supervisor", "client", "add", "kettle", "--allow", "primary/kernel: [uname]")
    assert "sealed" in machine.do("tlsrt-supervisor", "seal")


def test_a_refused_reload_is_the_exit_status_and_in_the_status_and_the_next_one_is_taken(
    machine: BootedSystemd,
) -> None:
    path = "/etc/tlsrt/tlsrt.yaml"
    text = machine.path(path).read_text()
    machine.write(path, f"{text}\nnonsense: 1\n")
    assert machine.run("systemctl", "reload", "tlsrt").returncode == 1
    assert "the last reload was refused: /etc/tlsrt/tlsrt.yaml:" in machine.show("tlsrt", "StatusText")
    assert machine.show("tlsrt", "ActiveState") == "active"
    machine.write(path, text)
    machine.systemctl("reload", "tlsrt")
    assert machine.show("tlsrt", "StatusText") == "5 loops, 7 components"


def test_install_again_changes_nothing_and_keeps_what_was_edited(machine: BootedSystemd) -> None:
    assert machine.do("tlsrt-supervisor", "install").count("as it is: ") == 4
    unit = machine.path("/etc/systemd/system/tlsrt.service")
    written = unit.read_text()
    unit.write_text(f"{written}\n# mine\n")
    done = machine.run("tlsrt-supervisor", "install")
    assert done.returncode == 0 and "tlsrt.service was edited, so it stays as it is" in done.stderr
    assert unit.read_text().endswith("# mine\n")
    unit.write_text(written)
    machine.systemctl("daemon-reload")


def test_a_restart_of_the_host_refuses_no_connection(machine: BootedSystemd) -> None:
    with machine.popen("/opt/tlsrt/env/bin/python", "-c", KNOCK, "2") as knocking:
        assert knocking.stdout is not None
        assert knocking.stdout.readline() == "knocking\n"
        machine.systemctl("restart", "tlsrt")
        made, refused = map(int, knocking.stdout.read().split())
    assert refused == 0 and made > 50
    assert call(machine)


@pytest.mark.parametrize("kill", ["STOP", "KILL"])
def test_a_supervisor_that_hangs_or_dies_is_started_again(machine: BootedSystemd, kill: str) -> None:
    fast = "/etc/systemd/system/tlsrt.service.d/fast.conf"
    if not machine.path(fast).exists():
        machine.write(fast, "[Service]\nWatchdogSec=1s\n")
        machine.systemctl("daemon-reload")
        machine.systemctl("restart", "tlsrt")
    before, status = restarts(machine), json.loads(machine.do("tlsrt-supervisor", "status", "--json"))
    machine.do("kill", f"-{kill}", str(status["supervisor"]["pid"]))
    machine.until(lambda: restarts(machine) > before, "a restart by systemd")
    machine.until(lambda: machine.show("tlsrt", "ActiveState") == "active", "that it serves again")
    assert call(machine)


def test_a_host_that_is_stopped_by_our_command_is_started_by_its_socket_and_says_so(machine: BootedSystemd) -> None:
    assert "tlsrt.socket starts it again at the next connection" in machine.do("tlsrt-supervisor", "stop")
    machine.until(lambda: machine.show("tlsrt", "ActiveState") == "inactive", "that it is stopped")
    assert call(machine)


def test_uninstall_leaves_the_state_only_and_purge_not_even_that(machine: BootedSystemd) -> None:
    said = machine.do("tlsrt-supervisor", "uninstall")
    assert "left: /var/lib/tlsrt, /var/log/tlsrt, the user tlsrt (for another `install`)" in said
    assert machine.run("systemctl", "cat", "tlsrt.service").returncode != 0
    left = machine.do("find", "/etc/systemd/system", "/etc/sysusers.d", "/etc/tmpfiles.d", "-name", "*tlsrt*")
    assert left.split() == [
        "/etc/systemd/system/tlsrt.service.d",
    ]  # the operator's own drop-in is in it
    machine.do("tlsrt-supervisor", "install")
    machine.do("tlsrt-supervisor", "uninstall", "--purge")
    assert machine.run("id", "tlsrt").returncode
    places = ["/var/lib/tlsrt", "/var/log/tlsrt", "/run/tlsrt", "/etc/systemd/system/tlsrt.service.d"]
    assert not [place for place in places if machine.path(place).exists()]
    assert not machine.do("find", "/sys/fs/cgroup", "-name", "*tlsrt*")
