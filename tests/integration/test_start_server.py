"""A host that the start server forks is, to itself and to /proc, what an executed one is; and ends with the tests."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts import start_server
from hosts.late_prelude import LatePrelude
from hosts.running_host import RunningHost

# What the supervisor is when all that loops need is imported, before its first fork of one.
TELLS = """
import json, os, resource, signal, sys
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.process.fork_servers import ForkServers

NAMES = ("NAMES", "inner", "told", "tlsrt")
WORDS = ("Sig", "Cap", "Uid", "Uma", "NoN", "Sec")  # not SigQ, which counts what all processes of a user have queued
def told(servers, start=ForkServers.start):
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    with open(TOLD, "w") as file:
        json.dump({
            "modules": sorted(sys.modules), "path": sys.path, "argv": sys.argv, "flags": list(sys.flags),
            "executable": sys.executable, "environment": dict(os.environ), "stdout": sys.stdout.line_buffering,
            "main": sorted(name for name in vars(sys.modules["__main__"]) if name in NAMES),
            "finders": [repr(type(finder)) for finder in sys.meta_path], "death": syscalls.signal_with_parent(),
            "signals": [str(getattr(signal.getsignal(number), "__name__", signal.getsignal(number)))
                        for number in sorted(signal.valid_signals())],
            "limits": [resource.getrlimit(getattr(resource, name)) for name in names], "folder": os.getcwd(),
            "status": {name: text.strip() for name, text in status.items() if name[:3] in WORDS and name != "SigQ"},
        }, file)
    start(servers)

ForkServers.start = told
"""
ABOUT = ("cmdline", "environ", "comm")


def _told(path: Path, *, execute: bool) -> dict[str, Any]:
    """Return what a host said of itself, and what /proc says of its processes, without what is random."""
    with RunningHost(prelude=f"TOLD = {str(path)!r}\n{TELLS}", execute=execute) as host:
        assert isinstance(host.process, start_server._ForkedHost) is not execute
        told = json.loads(path.read_text())
        for name, pid in host.pids().items():
            told[name] = [Path(f"/proc/{pid}/{file}").read_text() for file in ABOUT]
            # Behind it a loop counts its heartbeats, from the first one on, and a longer name gives way to the number.
            told[name][-1] = told[name][-1].partition("/")[0].strip()[:9]
            told[f"{name} exe"] = os.readlink(f"/proc/{pid}/exe")
        for name in ("launcher", "third"):  # the others open something now and then
            pid = host.pids()[name]
            told[f"{name} descriptors"] = sorted(
                os.readlink(entry).partition(":")[0] for entry in Path(f"/proc/{pid}/fd").iterdir()
            )
        told["group"] = [os.getpgid(host.pids()["launcher"]), os.getsid(host.pids()["launcher"])]
        text = json.dumps(told).replace(str(host.base), "BASE").replace(host._mark, "MARK")
        result: dict[str, Any] = json.loads(text)
        return result


def test_a_forked_host_is_what_an_executed_one_is(tmp_path: Path) -> None:
    executed, forked = (_told(tmp_path / "told", execute=execute) for execute in (True, False))
    assert {name: (executed[name], forked[name]) for name in executed if executed[name] != forked[name]} == {}


def test_a_host_is_executed_where_a_fork_would_inherit_what_this_process_has_no_more() -> None:
    with RunningHost() as host:
        assert isinstance(host.process, start_server._ForkedHost)
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0 if soft else 4096, hard))
        try:
            host.restart()
            assert not isinstance(host.process, start_server._ForkedHost)
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def test_a_host_is_executed_once_code_has_changed_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with RunningHost() as host:
        assert isinstance(host.process, start_server._ForkedHost)
        server = start_server._start_server(os.getpid())
        path = next(iter(server._code))
        monkeypatch.setitem(server._code, path, server._code[path] - 1)
        host.restart()
        assert not isinstance(host.process, start_server._ForkedHost)


# A function and a number that another module, which a forked host has imported, took by their names.
EXCHANGES = """
from tlsrt.channels.control import telemetry
{change}
import sys
from tlsrt.supervisor.launch import child_entries
from tlsrt.supervisor.process.fork_servers import ForkServers
def told(servers, start=ForkServers.start):
    child_entries.import_for_sealed("tlsrt.supervisor.authority.detection.anomaly_detector")
    from tlsrt.supervisor.authority.detection import anomaly_detector
    print("DETECTOR", anomaly_detector.pack_rows.__name__, flush=True)
    start(servers)
ForkServers.start = told
"""


@pytest.mark.parametrize("execute", [True, False])
def test_what_a_late_prelude_exchanges_has_every_module_that_took_it_by_its_name(*, execute: bool) -> None:
    change = "def other(rows):\n    return b''\ntelemetry.pack_rows = other"
    with RunningHost(prelude=LatePrelude(EXCHANGES.format(change=change)), execute=execute) as host:
        assert isinstance(host.process, start_server._ForkedHost) is not execute
        assert "DETECTOR other" in host.console


def test_a_late_prelude_that_changes_a_number_of_others_starts_no_host() -> None:
    host = RunningHost(prelude=LatePrelude(EXCHANGES.format(change="telemetry.WINDOW_MS = 7")))
    try:
        with pytest.raises(AssertionError):
            host.start()
        assert "anomaly_detector has tlsrt.channels.control.telemetry.WINDOW_MS as it was before" in (
            host.output.transcript()
        )
    finally:
        host.close()


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from hosts.running_host import RunningHost
host = RunningHost()
host.start()
print(host.base, *host.all_pids().values(), flush=True)
print(host.process.__class__.__name__, flush=True)
signal.pause()
"""


def test_no_host_and_no_server_outlives_tests_that_are_killed(tmp_path: Path) -> None:
    program = KILLED.format(tests=str(Path(__file__).parents[1]))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as tests:
        assert tests.stdout is not None
        first, kind = tests.stdout.readline().split(), tests.stdout.readline()
        assert kind.strip() == "_ForkedHost"
        processes = [psutil.Process(int(pid)) for pid in first[1:]] + psutil.Process(tests.pid).children()
        assert len(processes) > 7
        tests.kill()
    gone, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive, gone
