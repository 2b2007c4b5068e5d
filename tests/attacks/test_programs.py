"""Attacked sentence: a captured component, or a captured program, reaches by programs nothing that it could not reach.

The component has its code run in a real sandboxed process, with its life channel and all descriptors in its hands.
The programs are a shell and a Python with all that they may have.
"""

from __future__ import annotations

import errno
import os
import signal
import statistics
import struct
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.running_host import RunningHost, running

from tlsrt import CallError
from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.channels.control.program_request import REQUEST_MOST, encode_request

PACKAGE = Path(__file__).parent.parent / "hosts" / "program_package" / "programs"
CAPTURED, VICTIM = "third/captured", "third/victim"
WHY = "a test has it run"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
SHELL = {"run": "/bin/sh", "args": ["-c {script:text}"], "why": WHY, "scratch_mb": 4}
PROGRAMS: dict[str, Any] = {
    "sh": SHELL | {"seconds": 2, "processes": 12},
    "family": SHELL | {"also_runs": [os.path.realpath("/bin/cat")]},
    "python": {
        "run": PYTHON, "args": ["-c {script:/(?s:.*)/}"], "why": WHY, "read": [sysconfig.get_path("stdlib")],
        "environment": {"PYTHONHOME": sys.base_prefix}, "executable_memory": True, "memory_mb": 512, "scratch_mb": 4,
    },
    "cat": {"run": "/bin/cat", "why": WHY},
}  # fmt: skip
if os.geteuid() == 0:
    PROGRAMS["locked"] = PROGRAMS["python"] | {"capabilities": {"CAP_IPC_LOCK": "a test locks memory"}}
# What a program holds, and whether it may lock a MiB, become another user, and make a socket that hears all.
HOLDS = """
import ctypes, os, socket, struct
libc, data = ctypes.CDLL(None), ctypes.create_string_buffer(24)
libc.capget(struct.pack("=Ii", 0x20080522, 0), data)
low, permitted, inheritable, *_ = struct.unpack("=6I", data.raw)
room = ctypes.create_string_buffer(1 << 20)
def refused(action):
    try:
        action()
    except OSError:
        return 1
    return 0
print(low, permitted, libc.mlock(room, 1 << 20), refused(lambda: os.setuid(0)),
      refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)))
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    components = {
        CAPTURED: {"class": "programs.runner:Captured", "programs": PROGRAMS},
        VICTIM: {"class": "programs.runner:Runner", "programs": {"cat": {"run": "/bin/cat", "why": WHY}}},
    }
    policy = {f"client/admin -> {address}": "*" for address in components}
    extra = {"detection": {"mode": "observe"}}
    yield from running(request, components=components, policy=policy, packages=[PACKAGE], extra=extra)


@pytest.fixture(autouse=True)
def unharmed(host: RunningHost) -> Iterator[None]:
    """After each attack the victim's programs run as before, and nothing of the attack is left."""
    yield
    found = host.client().call(VICTIM, "once", "cat", [], b"still here")
    assert found["stdout"] == b"still here"


def records(host: RunningHost, process: str) -> dict[str, dict[str, Any]]:
    return {one["name"].partition("/")[2]: one for one in host.loop(process)["programs"]}


def once(host: RunningHost, name: str, *arguments: str, data: bytes = b"") -> dict[str, Any]:
    found: dict[str, Any] = host.client().call(CAPTURED, "once", name, list(arguments), data)
    return found


def another(host: RunningHost, before: int) -> None:
    """Wait until the captured component runs again, as another process."""
    host.until(
        lambda document: any(
            one["name"] == "third.captured" and one["state"] == "active" and one["pid"] != before
            for one in document["loops"]
        ),
        "another captured component",
    )


def python(host: RunningHost, script: str) -> dict[str, Any]:
    return once(host, "python", "-c", script)


# First, as of a program that ran very often lately not each end has an event of its own.
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86_64")
@pytest.mark.parametrize(
    "number", ["101, 16, 1", "310, 1", "272, 0x10000000", "322, 0, b'', 0, 0, 0x1000", "317, 1, 0, 0"]
)
def test_what_ends_it_and_is_told(host: RunningHost, number: str) -> None:
    """ptrace, process_vm_readv, unshare, a second execveat, seccomp."""
    found = python(host, f"import ctypes; ctypes.CDLL(None).syscall({number}); print('survived')")
    assert found["outcome"] == "forbidden", found
    assert "survived" not in str(found)
    host.told('"program_forbidden"', by=("events", "--kind", "program", "--json"))


@pytest.mark.parametrize("number", [len(PROGRAMS), 1 << 63, (1 << 64) - 1])
def test_an_integer_that_is_not_its_own_ends_it_and_runs_nothing(host: RunningHost, number: int) -> None:
    before, begun = host.pids()["third.captured"], records(host, "third.victim")["cat"]["begun"]
    with suppress(CallError):
        host.client().call(CAPTURED, "ask", number)
    host.wait_for(rf"third.captured.*asked for program {number} of {len(PROGRAMS)}")
    another(host, before)
    assert records(host, "third.victim")["cat"]["begun"] == begun


def test_a_flood_of_requests_is_told_busy_and_hurts_nobody(host: RunningHost) -> None:
    client, flood, took = host.client(), host.client(), list[float]()
    sent: list[int] = []
    thread = threading.Thread(target=lambda: sent.append(flood.call(CAPTURED, "flood", 3, 40, 2.0)))
    thread.start()
    while thread.is_alive():
        start = time.monotonic()
        assert client.call(VICTIM, "once", "cat", [], b"x")["stdout"] == b"x"
        took.append(time.monotonic() - start)
    thread.join()
    assert sent[0] > 40
    assert statistics.median(took) < 1.0 and max(took) < 10.0, f"programs of the victim took {took} s"
    assert host.loop("third.victim")["violations"] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="without root all have one uid")
def test_it_uses_up_no_uids(host: RunningHost) -> None:
    """However many it asks for, they are those of its slots, which are nobody else's."""
    script = "import os; print(os.getuid())"
    seen = {int(python(host, script)["stdout"]) for _ in range(8)}
    assert len(seen) <= 2, "`at_once` is 2"
    others = {psutil.Process(pid).uids().real for pid in host.pids().values()}
    assert 0 not in seen and seen.isdisjoint(others)


def test_a_faster_flood_ends_it(host: RunningHost) -> None:
    before = host.pids()["third.captured"]
    with suppress(CallError):
        host.client().call(CAPTURED, "ask", 3, 200)
    host.wait_for("third.captured.*life protocol: flood")
    another(host, before)


def test_a_request_that_is_none_runs_nothing(host: RunningHost) -> None:
    client = host.client()
    body = encode_request([b"-c", b"echo ran"])
    wrong = {
        "empty": b"", "half": body[:7], "too long": struct.pack(">I", REQUEST_MOST + 1) + body,
        "a lie": struct.pack(">I", 5) + b"\0\1\0\1a"[:5], "garbage": b"\xff" * 64,
        "outside": encode_request([b"-x"]), "not text": encode_request([b"-c", b"\xff"]),
        "more": encode_request([b"-c", b"echo ran", b"more"]),
    }  # fmt: skip
    for name, request in wrong.items():
        found = client.call(CAPTURED, "raw", "sh", request, True)
        assert Outcome(found["outcome"]) is Outcome.REFUSED, (name, found)
        assert "arguments refused" in found["said"], (name, found)
    found = client.call(CAPTURED, "raw", "sh", body[:9], False)
    assert Outcome(found["outcome"]) is Outcome.DEADLINE, "half a request and silence: its seconds end it"


@pytest.mark.skipif(os.geteuid() != 0, reason="without root nobody has a capability")
def test_a_program_has_the_capability_that_it_was_granted_and_no_other(host: RunningHost) -> None:
    lock = 1 << 14
    assert once(host, "locked", "-c", HOLDS)["stdout"].split() == [b"%d" % lock, b"%d" % lock, b"0", b"1", b"1"]
    assert python(host, HOLDS)["stdout"].split() == [b"0", b"0", b"-1", b"1", b"1"]


def test_what_will_be_executed_is_written_by_nobody(host: RunningHost) -> None:
    assert host.client().call(CAPTURED, "write_to", "/bin/cat") in ("PermissionError", "FileNotFoundError", "OSError")
    found = once(host, "family", "-c", "echo x > /bin/sh; echo x > /bin/cat; cp /bin/sh /tmp/x; echo $?")
    assert "cannot create /bin/sh" in found["stderr"] and "cannot create /bin/cat" in found["stderr"]
    found = once(host, "family", "-c", "cat /bin/cat > /tmp/cat; chmod 700 /tmp/cat; /tmp/cat /etc/passwd; echo $?")
    assert found["stdout"] == b"126\n" and "Permission denied" in found["stderr"], found
    script = "import os; open('/tmp/x', 'w').write('#!/bin/sh'); os.chmod('/tmp/x', 0o700); os.execv('/tmp/x', ['x'])"
    assert python(host, script)["outcome"] == "forbidden"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_program_ends_with_its_component(host: RunningHost, how: signal.Signals) -> None:
    before = host.pids()["third.captured"]
    assert host.client().call(CAPTURED, "keep", "cat", []) == 1
    assert host.client().call(CAPTURED, "keep", "family", ["-c", "cat & cat & wait; cat"]) == 2
    pids = [one["pid"] for record in records(host, "third.captured").values() for one in record["running"]]
    assert len(pids) == 2
    family = [process for pid in pids for process in (psutil.Process(pid), *psutil.Process(pid).children())]
    os.kill(before, how)
    another(host, before)
    psutil.wait_procs(family, timeout=5)
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_its_descriptor_is_passed_to_nobody(host: RunningHost) -> None:
    assert host.client().call(CAPTURED, "pass_on", "cat", []) == f"OSError {errno.ENOSYS}"
    script = "import socket; a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [0])"
    assert "Function not implemented" in python(host, script)["stderr"]


def test_a_bomb_of_processes_ends_with_its_seconds(host: RunningHost) -> None:
    found = once(host, "sh", "-c", "f() { f & f & wait; }; f; while :; do f; done")
    assert found["outcome"] in ("deadline", "ended"), found
    host.until(lambda document: not records(host, "third.captured")["sh"]["running"], "the end of the bomb")


def test_it_finds_no_key_and_no_other_process(host: RunningHost) -> None:
    script = (
        "import os\n"
        "seen = [os.path.join(at, name) for at, _, names in os.walk('/') for name in names]\n"
        "places = ('/proc', '/state', '/channel', '/sys')\n"
        "bad = [one for one in seen if 'master.key' in one or one.startswith(places)]\n"
        "print([one for one in bad if one != '/etc/tlsrt/master.key.bak'], os.path.exists('/proc/1'), os.getpid())"
    )
    assert python(host, script)["stdout"] == b"[] False 1\n"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("import socket; socket.socket(socket.AF_UNIX).connect('\\0tlsrt')", "PermissionError"),
        ("import socket; socket.socket(socket.AF_INET)", "PermissionError"),
        ("import os; os.open('/etc/shadow', 0)", "FileNotFoundError"),
        ("import os; os.mkfifo('/tmp/x')", "PermissionError"),
        ("import os; os.link('/bin/sh', '/tmp/x')", "Error"),
    ],
)
def test_what_it_tries_in_vain(host: RunningHost, script: str, sentence: str) -> None:
    found = python(host, script)
    assert found["status"] == 1 and sentence in found["stderr"], found
