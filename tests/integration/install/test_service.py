"""tlsrt as a service of a real systemd, as a user without rights, under the unit that `install` writes."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest
from hosts.booted_systemd import HOME, BootedSystemd, booted
from tools.programs import need

pytestmark = pytest.mark.once

OF_USERADD = (
    "/etc/sysusers.d",  # a folder of systemd's own, empty
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/.pwd.lock",
    "/etc/subuid",
    "/etc/subgid",
)
TCTI = "TPM2TOOLS_TCTI=swtpm:path=/run/tpm"
DROP_INS = "/etc/systemd/system/tlsrt.service.d"
BUNDLE = {"TLSRT_BUNDLE": "/etc/tlsrt/admin.tlsrt"}
# Connects until its input ends: a listening socket that is gone would refuse.
KNOCK = """
import select, socket, sys
made = refused = 0
print("knocking", flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    try:
        socket.create_connection(("127.0.0.1", 7443), 20).close()
        made += 1
    except ConnectionRefusedError:
        refused += 1
print(made, refused)
"""


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[BootedSystemd]:
    yield from booted(request)


@pytest.fixture(scope="module", autouse=True)
def before(machine: BootedSystemd) -> set[str]:
    """What is on the machine before anything is installed."""
    return files_of(machine)


def files_of(machine: BootedSystemd) -> set[str]:
    found = machine.do("find", "/etc", "/var", "/usr/lib/systemd", "/run", "-xdev").splitlines()
    return {
        path for path in found if not path.startswith(("/etc/tlsrt", "/run/systemd/", "/run/log/", "/run/credentials"))
    }


def call(machine: BootedSystemd) -> str:
    return machine.do("tlsrt", "call", "primary/kernel", "uname", environment=BUNDLE)


def door_inode(machine: BootedSystemd) -> str:
    rows = (line.split() for line in machine.path("/proc/1/net/tcp").read_text().splitlines()[1:])
    [inode] = [row[9] for row in rows if row[1].endswith(":1D13") and row[3] == "0A"]  # port 7443, which listens
    return inode


def told(machine: BootedSystemd) -> list[str]:
    return [str(entry["MESSAGE"]) for entry in machine.journal("-t", "tlsrt-supervisor")]


def restarts(machine: BootedSystemd) -> int:
    return int(machine.show("tlsrt", "NRestarts"))


def reload_refused_and_taken(machine: BootedSystemd) -> None:
    path = "/etc/tlsrt/tlsrt.yaml"
    text = machine.path(path).read_text()
    machine.write(path, f"{text}\nnonsense: 1\n")
    assert machine.run("systemctl", "reload", "tlsrt").returncode == 1
    assert "the last reload was refused: /etc/tlsrt/tlsrt.yaml:" in machine.show("tlsrt", "StatusText")
    assert machine.show("tlsrt", "ActiveState") == "active"
    machine.write(path, text)
    machine.systemctl("reload", "tlsrt")
    assert machine.show("tlsrt", "StatusText") == "5 loops, 7 components"


def knocked_during_restart(machine: BootedSystemd) -> tuple[int, int]:
    """Return how many connections were made and refused while the service was restarted."""
    with machine.popen(f"{HOME}/env/bin/python", "-c", KNOCK, stdin=subprocess.PIPE) as knocking:
        assert knocking.stdin is not None and knocking.stdout is not None
        assert knocking.stdout.readline() == "knocking\n"
        machine.systemctl("restart", "tlsrt")
        knocking.stdin.close()
        made, refused = map(int, knocking.stdout.read().split())
    return made, refused


def restart_refuses_none(machine: BootedSystemd) -> None:
    made, refused = knocked_during_restart(machine)
    assert refused == 0 and made > 20
    assert call(machine)


def started_again_after(machine: BootedSystemd, kill: str) -> None:
    """Stop or kill the supervisor, which is not the process that systemd has started."""
    fast = f"{DROP_INS}/fast.conf"
    if not machine.path(fast).exists():
        machine.write(fast, "[Service]\nWatchdogSec=1s\n")
        machine.systemctl("daemon-reload")
        machine.systemctl("restart", "tlsrt")
    before, status = restarts(machine), json.loads(machine.do("tlsrt-supervisor", "status", "--json"))
    machine.do("kill", f"-{kill}", str(status["supervisor"]["pid"]))
    machine.until(lambda: restarts(machine) > before, "a restart by systemd")
    machine.until(lambda: machine.show("tlsrt", "ActiveState") == "active", "that it serves again")
    assert call(machine)


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
    assert machine.do("cat", f"/proc/{main}/cgroup").endswith("/tlsrt.service/supervisor\n")
    for name in ("master.key", "ca.key", "server.key"):
        assert machine.run("setpriv", "--reuid", "tlsrt", "--clear-groups", "cat", f"/etc/tlsrt/{name}").returncode
    assert machine.run("setpriv", "--reuid", "tlsrt", "--clear-groups", "touch", "/etc/tlsrt/x").returncode


def test_what_the_unit_refuses_external_is_said_and_its_loop_runs(machine: BootedSystemd) -> None:
    done = machine.run("tlsrt", "call", "external/network", "links", environment=BUNDLE)
    assert done.returncode and "add AF_NETLINK to RestrictAddressFamilies= of the service" in done.stderr
    assert machine.do("tlsrt", "call", "external/network", "connections", environment=BUNDLE)


def test_root_asks_enrols_and_seals(machine: BootedSystemd) -> None:
    assert json.loads(machine.do("tlsrt-supervisor", "status", "--json"))["loops"]
    words = ("--allow", "primary/kernel: [uname]", "--bundle", "/root/kettle.tlsrt")
    machine.do("tlsrt-supervisor", "client", "add", "kettle", *words)
    assert machine.do("tlsrt", "--bundle", "/root/kettle.tlsrt", "call", "primary/kernel", "uname")
    assert "sealed" in machine.do("tlsrt-supervisor", "seal")


def test_a_refused_reload_is_the_exit_status_and_in_the_status_and_the_next_one_is_taken(
    machine: BootedSystemd,
) -> None:
    reload_refused_and_taken(machine)


def test_variables_of_a_file_are_taken_and_another_value_is_not_without_a_seal(machine: BootedSystemd) -> None:
    variables, drop_in, more = "/etc/default/tlsrt", f"{DROP_INS}/variables.conf", "/etc/tlsrt/tlsrt.yaml.d/20.yaml"
    machine.write(variables, "TLSRT_FILES=300\n")
    machine.write(drop_in, f"[Service]\nEnvironmentFile={variables}\n")
    lines = "environment: {TLSRT_FILES: by the unit}\nloops:\n  secondary:\n    open_files: ${TLSRT_FILES}\n"
    machine.write(more, lines)
    assert "sealed" in machine.do("tlsrt-supervisor", "seal", environment={"TLSRT_FILES": "300"})
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", "tlsrt")
    said = machine.do("tlsrt-supervisor", "status", "--json", environment={"TLSRT_FILES": "300"})
    [secondary] = [one for one in json.loads(said)["loops"] if one["name"] == "secondary"]
    limits = machine.do("cat", f"/proc/{secondary['pid']}/limits")
    assert re.search(r"Max open files +300 ", limits), limits

    machine.write(variables, "TLSRT_FILES=301\n")
    assert machine.run("systemctl", "restart", "tlsrt").returncode != 0
    assert machine.show("tlsrt", "ExecMainStatus") == "78"
    assert any("changed environment/TLSRT_FILES" in line for line in told(machine))
    machine.do("rm", variables, drop_in, more)
    machine.do("tlsrt-supervisor", "seal")
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", "tlsrt")
    assert call(machine)


def test_under_dynamic_user_the_state_moves_with_it_and_back(machine: BootedSystemd) -> None:
    """The user that `install` has made is taken, and systemd has its folders in /var/lib/private."""
    drop_in, state = f"{DROP_INS}/dynamic.conf", machine.path("/var/lib/tlsrt")
    machine.do("tlsrt", "call", "secondary/store", "put", "greeting", "hello", environment=BUNDLE)
    machine.write(drop_in, "[Service]\nDynamicUser=yes\n")
    for is_link in (True, False):
        machine.systemctl("daemon-reload")
        machine.systemctl("restart", "tlsrt")
        assert machine.do("tlsrt", "call", "secondary/store", "get", "greeting", environment=BUNDLE) == "hello\n"
        assert state.is_symlink() is is_link
        machine.do("rm", "-f", drop_in)
    assert "sealed" in machine.do("tlsrt-supervisor", "seal")
    machine.do("sh", "-c", "rmdir /var/lib/private /var/log/private /run/private; true")  # systemd's own, and empty


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


def test_install_now_with_another_user_starts_what_runs_anew(machine: BootedSystemd) -> None:
    main = machine.show("tlsrt", "MainPID")
    assert "next: systemctl restart tlsrt.service" in machine.do("tlsrt-supervisor", "install", "--user", "root")
    assert machine.show("tlsrt", "MainPID") == main
    said = machine.do("tlsrt-supervisor", "install", "--now")
    assert "run: systemctl restart tlsrt.service" in said and machine.show("tlsrt", "MainPID") != main
    assert machine.show("tlsrt", "User") == "tlsrt" and call(machine)
    main = machine.show("tlsrt", "MainPID")
    assert "restart" not in machine.do("tlsrt-supervisor", "install", "--now")
    assert machine.show("tlsrt", "MainPID") == main


def test_a_restart_of_the_host_refuses_no_connection(machine: BootedSystemd) -> None:
    restart_refuses_none(machine)


def test_a_changed_key_is_named_by_a_reload(machine: BootedSystemd) -> None:
    machine.do("touch", "/etc/tlsrt/server.key")
    said = machine.run("tlsrt-supervisor", "reload").stderr
    assert "server.key has changed since the host started" in said and "`systemctl restart tlsrt` takes it" in said


def test_another_master_key_is_handed_over_and_in_force_at_once(machine: BootedSystemd) -> None:
    said = machine.do("tlsrt-supervisor", "rotate", "--master")
    assert "master_key version 2 is in force" in said and "removed /etc/tlsrt/master.key:" in said
    assert call(machine)
    assert "tlsrt-boot-token 2" in machine.path("/etc/tlsrt/boot.token").read_text()[:40]
    main = f"/proc/{machine.show('tlsrt', 'MainPID')}/environ"
    assert "CREDENTIALS_DIRECTORY" in machine.do("cat", main)
    assert "sealed" in machine.do("tlsrt-supervisor", "seal")


def test_without_the_socket_unit_the_store_keeps_the_door_over_a_restart(machine: BootedSystemd) -> None:
    """The same socket, by its inode, is there before and after; and no connection is refused meanwhile."""
    unit = machine.path("/etc/systemd/system/tlsrt.service")
    written = unit.read_text()
    unit.write_text("\n".join(line for line in written.splitlines() if "tlsrt.socket" not in line))
    machine.systemctl("daemon-reload")
    machine.systemctl("stop", "tlsrt.socket", "tlsrt")
    machine.systemctl("start", "tlsrt")
    before = door_inode(machine)
    assert int(machine.show("tlsrt", "NFileDescriptorStore")) >= 1
    made, refused = knocked_during_restart(machine)
    assert (refused, door_inode(machine)) == (0, before) and made > 20
    assert call(machine)
    unit.write_text(written)
    machine.systemctl("daemon-reload")
    machine.systemctl("stop", "tlsrt")
    machine.systemctl("start", "tlsrt.socket", "tlsrt")


@pytest.mark.parametrize("kill", ["STOP", "KILL"])
def test_a_supervisor_that_hangs_or_dies_is_started_again(machine: BootedSystemd, kill: str) -> None:
    started_again_after(machine, kill)


def test_a_host_that_is_stopped_by_our_command_is_started_by_its_socket_and_says_so(machine: BootedSystemd) -> None:
    assert "tlsrt.socket starts it again at the next connection" in machine.do("tlsrt-supervisor", "stop")
    machine.until(lambda: machine.show("tlsrt", "ActiveState") == "inactive", "that it is stopped")
    assert call(machine)


@pytest.fixture
def tpm(machine: BootedSystemd) -> Iterator[Callable[[], None]]:
    """A TPM in software for the services of the machine; what it returns makes it another one."""
    need("swtpm")
    need("tpm2_unseal")
    server = "--server type=unixio,path=/run/tpm --ctrl type=unixio,path=/run/tpm.ctrl"
    words = f"socket --tpm2 --tpmstate dir=/run/swtpm {server}"
    service = (
        f"[Service]\nRuntimeDirectory=swtpm\nExecStart=/usr/bin/swtpm {words} --flags not-need-init,startup-clear\n"
    )
    machine.write("/run/systemd/system/swtpm.service", service)
    machine.write(
        "/etc/systemd/system/tlsrt-keys@.service.d/tpm.conf",
        f"[Unit]\nRequires=swtpm.service\nAfter=swtpm.service\n[Service]\nEnvironment={TCTI}\nPrivateDevices=no\n",
    )
    machine.systemctl("daemon-reload")

    def start() -> None:
        machine.systemctl("stop", "swtpm")
        machine.do("rm", "-f", "/run/tpm", "/run/tpm.ctrl")
        machine.systemctl("start", "swtpm")
        machine.until(lambda: machine.path("/run/tpm").exists(), "the TPM")

    start()
    yield start
    machine.systemctl("stop", "swtpm")
    machine.do("rm", "-rf", "/etc/systemd/system/tlsrt-keys@.service.d", "/run/tpm", "/run/tpm.ctrl", "/run/swtpm")


def test_a_master_key_that_the_tpm_has_sealed_starts_this_machine_as_it_is_and_no_other(
    machine: BootedSystemd, tpm: Callable[[], None]
) -> None:  # fmt: skip
    environment = dict([TCTI.split("=", 1)])
    said = machine.run("tlsrt-supervisor", "install", "--credentials", "tpm2", environment=environment)
    assert said.returncode == 0 and "sealed /etc/tlsrt/" in said.stderr, said.stderr
    [key] = machine.do("sh", "-c", "ls /etc/tlsrt/master.key* | grep -v tpm2").split()
    machine.do("mv", key, "/root/key")
    machine.systemctl("restart", "tlsrt")
    assert call(machine)
    assert "sealed" in machine.do("tlsrt-supervisor", "seal", environment=environment)
    assert "no connection of systemd" in machine.run("tlsrt-supervisor", "unseal-key").stderr

    machine.do("tpm2_pcrextend", f"7:sha256={'0f' * 32}", environment=environment)
    assert machine.run("systemctl", "restart", "tlsrt").returncode != 0
    lines = told(machine)
    assert any("sha256:7 are not as they were when it was sealed" in line for line in lines), lines[-5:]
    tpm()
    machine.do("mv", "/root/key", key)
    machine.systemctl("stop", "tlsrt.socket", "tlsrt")
    machine.do("tlsrt-supervisor", "install", "--credentials", "files")
    assert not machine.path("/etc/systemd/system/tlsrt-keys.socket").exists()
    machine.systemctl("start", "tlsrt.socket", "tlsrt")
    assert call(machine)

    machine.systemctl("disable", "tlsrt.service")
    done = json.loads(machine.do("tlsrt-supervisor", "rotate", "--master", "--json"))
    assert done == {"epoch": None, "key_version": 3}
    assert machine.do("sh", "-c", "ls /etc/tlsrt/master.key*").split() == ["/etc/tlsrt/master.key.3"]
    machine.systemctl("restart", "tlsrt")
    assert call(machine)
    assert machine.run("systemctl", "is-enabled", "tlsrt.service").stdout == "disabled\n"


def test_uninstall_leaves_the_state_only_and_purge_not_even_that(machine: BootedSystemd, before: set[str]) -> None:
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
    more = {path for path in files_of(machine) - before if not path.startswith(OF_USERADD)}
    assert not more, "\n".join(sorted(more))


def test_as_root_each_process_has_a_uid_of_its_own(machine: BootedSystemd) -> None:
    machine.do("tlsrt-supervisor", "install", "--user", "root", "--now")
    assert call(machine)
    assert machine.show("tlsrt", "User") == ""
    processes = json.loads(machine.do("tlsrt-supervisor", "status", "--json"))["loops"]
    pids = [str(one["pid"]) for one in processes if one.get("pid")]
    uids = {machine.do("stat", "-c", "%u", f"/proc/{pid}").strip() for pid in pids}
    assert len(uids) == len(pids) >= 5 and "0" not in uids
    reload_refused_and_taken(machine)
    restart_refuses_none(machine)
    for kill in ("STOP", "KILL"):
        started_again_after(machine, kill)


def test_a_purge_beside_a_host_that_runs_by_hand_is_refused(machine: BootedSystemd) -> None:
    machine.systemctl("stop", "tlsrt.socket", "tlsrt")
    with machine.popen("tlsrt-supervisor", "start") as host:
        machine.until(lambda: machine.run("tlsrt-supervisor", "is-active").returncode == 0, "that it serves")
        done = machine.run("tlsrt-supervisor", "uninstall", "--purge")
        assert done.returncode != 0
        assert "a host runs with its state in /var/lib/tlsrt, so nothing is removed" in done.stderr
        assert call(machine)
        machine.do("tlsrt-supervisor", "stop")
        host.communicate(timeout=30)
    machine.do("tlsrt-supervisor", "uninstall", "--purge")
    assert not machine.path("/var/lib/tlsrt").exists()
