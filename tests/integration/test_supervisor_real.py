"""The whole runtime as an operator starts it: init, start, status, kill, stop."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.command_server import command_server
from hosts.coverage_pipe import PRELUDE, VARIABLE, collect
from hosts.running_host import INNER, LAUNCH, free_port

from tlsrt.sandbox.cgroup.cgroup import own_place, parse_own_group

PATIENCE_S = 20.0
COMMAND = [sys.executable, "-I", "-B", "-m", "tlsrt.supervisor.cli.main"]
LOOPS = ["primary", "primary.facts", "secondary", "third", "forth", "external"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if arguments[0] != "start":
        return command_server().run(arguments, cwd=folder, environment=named(folder))
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=named(folder), capture_output=True, text=True, timeout=PATIENCE_S
    )


def named(folder: Path) -> dict[str, str]:
    """Return an environment that names the configuration: as root, none is taken from the folder one stands in."""
    return {**os.environ, "TLSRT_CONFIG": str(folder / "var" / "tlsrt.yaml")}


class Host:
    """An installation, and its running supervisor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        done = run(folder, "init", "var", "--port", str(free_port()))
        assert done.returncode == 0, done.stderr
        self.lines: list[str] = []

    def start(self, coverage_pipe: int | None = None) -> None:
        environment, command = named(self.folder), [*COMMAND, "start"]
        if coverage_pipe is not None:
            environment[VARIABLE] = str(coverage_pipe)
            config = str(self.folder / "var" / "tlsrt.yaml")
            command = [sys.executable, "-I", "-B", "-c", LAUNCH, f"{PRELUDE}\n{INNER}", "--config", config]
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=() if coverage_pipe is None else (coverage_pipe,),
            env=environment,
        )
        self._rest = b""

    def wait(self, pattern: str) -> str:
        """Return the next line that matches."""
        assert self.process.stdout is not None
        end = time.monotonic() + PATIENCE_S
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                self.lines.append(line.decode())
                if re.search(pattern, self.lines[-1]):
                    return self.lines[-1]
                continue
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert piece, f"{pattern!r} did not come: {self.lines}"
            self._rest += piece

    def status(self) -> dict[str, Any]:
        done = run(self.folder, "status", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def pids(self) -> dict[str, int]:
        status = self.status()
        names = {loop["name"]: loop["pid"] for loop in status["loops"]}
        return {"supervisor": status["supervisor"]["pid"], "authority": status["authority"]["pid"], **names}

    def rest(self) -> int:
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        self.lines += (self._rest + out).decode().splitlines()
        return self.process.returncode


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    made.start()
    yield made
    made.process.kill()  # the kernel ends everything below with it
    made.process.communicate()


def wait_until_gone(pids: list[int]) -> None:
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ready, _, _ = select.select([pidfd], [], [], PATIENCE_S)
        os.close(pidfd)
        assert ready, f"{pid} still lives"


def test_a_life_from_init_to_stop(host: Host) -> None:
    host.wait("^ready")
    active = [line.split()[0] for line in host.lines if " active " in line]
    assert active == LOOPS
    status = host.status()
    assert [loop["name"] for loop in status["loops"]] == LOOPS
    assert {loop["state"] for loop in status["loops"]} == {"active"}
    table = run(host.folder, "status").stdout
    assert all(re.search(rf"^{name} +active", table, re.MULTILINE) for name in LOOPS)
    again = run(host.folder, "start")
    assert again.returncode == 69
    assert "already running" in again.stderr
    assert run(host.folder, "stop").returncode == 0
    assert host.rest() == 0
    stopped = [line.split()[0] for line in host.lines if " stopped" in line]
    others = [name for name in reversed(LOOPS) if name != "forth"]
    assert stopped == [*others, "forth", "authority", "supervisor"]
    after = run(host.folder, "status")
    assert after.returncode == 3
    assert after.stderr.count("\n") == 1


def test_every_process_is_confined(host: Host) -> None:
    host.wait("^ready")
    pids = host.pids()
    own = {name: os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "pid", "ipc", "uts", "net")}
    for name in ["authority", *LOOPS]:
        facts = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{pids[name]}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert facts["NoNewPrivs"] == "1"
        assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
        for kind, ours in own.items():
            theirs = os.readlink(f"/proc/{pids[name]}/ns/{kind}")
            assert (theirs == ours) is (name == "external" and kind == "net")
    assert run(host.folder, "stop").returncode == 0


@pytest.mark.parametrize("victim", ["supervisor", "launcher"])
def test_nobody_outlives_the_supervisor(host: Host, victim: str) -> None:
    host.wait("^ready")
    pids = host.pids()
    groups = {group_of(pid) for name, pid in pids.items() if name != "supervisor"}
    assert len(groups) == 1 + len(LOOPS) and all(group.is_dir() for group in groups)
    if victim == "launcher":
        host.process.kill()
    else:
        os.kill(pids["supervisor"], signal.SIGKILL)
    wait_until_gone(list(pids.values()))
    host.rest()
    if victim == "supervisor":
        assert not any(group.exists() for group in groups), "the launcher has swept"
    host.start()
    host.wait("^ready")
    assert run(host.folder, "stop").returncode == 0
    assert not any(group.exists() for group in groups)


def group_of(pid: int) -> Path:
    place = own_place()
    name = parse_own_group(Path(f"/proc/{pid}/cgroup").read_text())
    return Path(f"{place.folder}/{name.removeprefix(place.name)}")


def test_every_process_is_in_the_group_that_status_names(host: Host) -> None:
    ready = host.wait("^limits")
    assert ready.split(None, 1)[1].startswith("kill, freeze")
    status = host.status()
    for entry in (status["authority"], *status["loops"]):
        assert parse_own_group(Path(f"/proc/{entry['pid']}/cgroup").read_text()) == entry["sandbox"]["cgroup"]
        assert "cgroup" in entry["sandbox"]["layers"] and entry["sandbox"]["limits"]["kill"] == "cgroup"
    assert f"limits: {status['limits']}" in run(host.folder, "status").stdout
    assert run(host.folder, "stop").returncode == 0


def test_a_killed_loop_is_back_with_keys(host: Host) -> None:
    host.wait("^ready")
    for victim in LOOPS:
        os.kill(host.pids()[victim], signal.SIGKILL)
        host.wait(f"{victim} +active")
        status = host.status()
        assert {loop["state"] for loop in status["loops"]} == {"active"}
    assert {loop["name"]: loop["restarts"] for loop in status["loops"]} == dict.fromkeys(LOOPS, 1)
    assert run(host.folder, "stop").returncode == 0


def test_the_authority_comes_back_and_no_loop_notices(host: Host) -> None:
    host.wait("^ready")
    before = host.pids()
    os.kill(before["authority"], signal.SIGKILL)
    host.wait("authority +active")
    after = host.pids()
    assert {name for name in before if before[name] != after[name]} == {"authority"}
    os.kill(after["third"], signal.SIGKILL)  # and the new one hands out keys
    host.wait("third +active")
    assert run(host.folder, "stop").returncode == 0


def test_sealed_processes_send_their_coverage_at_the_end(tmp_path: Path) -> None:
    import coverage

    host = Host(tmp_path)
    reading, writing = os.pipe()
    host.start(writing)
    os.close(writing)
    host.wait("^ready")
    os.kill(host.pids()["supervisor"], signal.SIGTERM)
    received = b""
    while piece := os.read(reading, 65536):
        received += piece
    os.close(reading)
    assert host.rest() == 0
    dumps = collect(received)
    assert len(dumps) == 1 + len(LOOPS)
    seen: set[str] = set()
    for dump in dumps:
        data = coverage.CoverageData(no_disk=True)
        data.loads(dump)
        seen |= {path.rpartition("/")[2] for path in data.measured_files()}
        data.close(force=True)
    assert {"service.py", "process.py", "admission.py", "enter.py"} <= seen


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda var: (var / "master.key").unlink(), "there is no master_key"),
        (lambda var: (var / "master.key").chmod(0o644), "master"),
        (lambda var: (var / "master.key").write_bytes(b"x" * 32), "one byte repeated"),
        (lambda var: (var / "master.key").write_bytes(bytes(range(32))), "not made with this master_key"),
        (lambda var: (var / "boot.token").unlink(), "boot"),
        (lambda var: (var / "server.key").unlink(), "server.key"),
    ],
)
def test_a_start_that_must_not_be_is_refused(tmp_path: Path, damage: Any, sentence: str) -> None:
    host = Host(tmp_path)
    damage(tmp_path / "var")
    done = run(tmp_path, "start")
    assert done.returncode == 78
    assert done.stderr.startswith("tlsrt-supervisor: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert "active" not in done.stdout
    assert host.folder == tmp_path


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert run(tmp_path, "init", "var", "--port", str(port)).returncode == 0
        done = run(tmp_path, "start")
    assert done.returncode == 78
    assert done.stderr == (
        f"tlsrt-supervisor: another program already listens on 127.0.0.1:{port}: stop it, or choose another door.port\n"
    )


def test_loops_run_where_and_as_the_configuration_says(tmp_path: Path) -> None:
    """And what this host does not give is refused with one sentence, before anything is started."""
    made = Host(tmp_path)
    config = made.folder / "var" / "tlsrt.yaml"
    text = config.read_text()
    one = min(os.sched_getaffinity(0))
    config.write_text(f"{text}\nscheduling: {{cpus: {{primary: [{one}], third: [4095]}}}}\n")
    assert run(made.folder, "seal").returncode == 0
    refused = run(made.folder, "start")
    assert refused.returncode == 78
    assert "scheduling.cpus.third" in refused.stderr
    assert refused.stderr.count("\n") == 1
    in_real_time = subprocess.call(["chrt", "-r", "1", "true"]) == 0
    real_time = "[third]" if in_real_time else "[]"
    config.write_text(f"{text}\nscheduling: {{cpus: {{primary: [{one}]}}, real_time: {real_time}}}\n")
    assert run(made.folder, "seal").returncode == 0
    made.start()
    try:
        made.wait("^ready")
        pids = made.pids()
        assert os.sched_getaffinity(pids["primary"]) == {one}
        assert os.sched_getaffinity(pids["third"]) == os.sched_getaffinity(0)
        expected = os.SCHED_RR | os.SCHED_RESET_ON_FORK if in_real_time else os.SCHED_OTHER
        assert os.sched_getscheduler(pids["third"]) == expected
        assert os.sched_getscheduler(pids["primary"]) == os.SCHED_OTHER
    finally:
        made.process.kill()
        made.process.communicate()
