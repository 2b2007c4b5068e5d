"""Attacked sentence: a captured worker reaches nothing but its component's call, and ends when that ends it.

The worker unpickles its model, and the file holds code: all that follows runs in its real confined process, which has
executable memory and threads.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.running_host import RunningHost, running

from tlsrt import DeadlineExceeded, Unavailable

PACKAGE = Path(__file__).parent.parent / "hosts" / "worker_package" / "working"
CAPTURED, VICTIM = "third/open", "third/typed"
MODEL = Path("/srv/tlsrt-test-model")
WHY = "a test captures it"
WORKER: dict[str, Any] = {
    "worker": "working.captured", "why": WHY, "seconds": 2, "read": [str(MODEL)], "memory_mb": 256,
    "executable_memory": True, "threads": 2,
}  # fmt: skip


class Payload:
    """What an attacker puts into a model."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import builtins; builtins.captured = 'by the model'",)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    if os.geteuid() != 0:
        pytest.skip("puts a folder below /srv")
    MODEL.mkdir(mode=0o755, parents=True, exist_ok=True)
    (MODEL / "model.pickle").write_bytes(pickle.dumps(Payload()))
    components = {
        CAPTURED: {
            "class": "working.component:Open",
            "programs": {"model": WORKER, "broken": {"worker": "working.broken", "why": WHY}},
        },
        VICTIM: {
            "class": "working.component:Typed", "programs": {"model": {"worker": "working.model", "why": WHY}},
        },
    }  # fmt: skip
    policy = {f"client/admin -> {address}": "*" for address in components}
    extra = {"detection": {"mode": "observe"}}
    try:
        yield from running(request, components=components, policy=policy, packages=[PACKAGE], extra=extra)
    finally:
        shutil.rmtree(MODEL)


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest, host: RunningHost) -> Iterator[None]:
    """After each attack the component is the process that it was, answers, and so does its neighbour."""
    before = host.pids()["third.open"]
    yield
    if "outlive" in request.node.name:
        return
    assert host.client().call(VICTIM, "found", "x")["label"] == "x"
    assert run(host, "result = captured") == "by the model"
    assert host.pids()["third.open"] == before


def run(host: RunningHost, code: str) -> Any:
    return host.client().call(CAPTURED, "one", "run", [code])


TRIES = {
    "a key or a state": "import os; result = [os.path.join(a, n) for a, _, f in os.walk('/') for n in f if n.endswith("
    "('.key', '.token', '.sqlite', '.p12'))] + [p for p in ('/proc', '/state', '/channel', '/sys', '/root', '/home',"
    " '/var', '/etc/shadow', '/etc/passwd') if os.path.exists(p)]",
    "another process": "import os; result = [p for p in range(2, 400) if alive(p)]",
    "a writable file outside": "import os; result = [a for a, _, _ in os.walk('/') if can(a)]",
}
HELP = """
import os
def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
def can(folder):
    try:
        open(folder + '/x', 'w')
    except OSError:
        return False
    return True
"""


@pytest.mark.parametrize("what", [*TRIES])
def test_it_finds_none_of_these(host: RunningHost, what: str) -> None:
    code = {f"/{Path(place).parts[1]}" for place in (sys.base_prefix, sys.prefix, __file__)}  # below /root, say
    library = f"{sys.base_prefix}/"  # the interpreter's own, which may have packages beside it
    found = [one for one in run(host, HELP + TRIES[what]) if one not in code and not str(one).startswith(library)]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', PORT), 1)",
        "import socket; socket.socket(socket.AF_UNIX).connect('\\0tlsrt')",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "import socket; socket.send_fds(data, [b'x'], [0])",
        "import os; os.setuid(0)",
        "open('/srv/tlsrt-test-model/model.pickle', 'ab')",
    ],
)
def test_what_it_tries_in_vain(host: RunningHost, code: str) -> None:
    tried = "\n    ".join(code.replace("PORT", str(host.port)).split("; "))
    assert run(host, f"try:\n    {tried}\nexcept OSError as error:\n    result = error.strerror")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86_64")
@pytest.mark.parametrize("number", ["101, 16, 1", "310, 1", "272, 0x10000000", "59, b'/bin/sh', 0, 0"])
def test_what_ends_it_and_is_told(host: RunningHost, number: str) -> None:
    """ptrace, process_vm_readv, unshare, execve."""
    with pytest.raises(Unavailable, match="has ended: it made a system call that no program may make"):
        run(host, f"import ctypes; ctypes.CDLL(None).syscall({number})")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("data.sendall(bytes([18]) + b'\\x7f\\xff\\xff\\xff' * 2)", "oversize"),
        ("data.sendall(bytes([18, 0, 0, 0, 6, 0, 0, 0, 0]) + b'\\x92\\xdd\\xff\\xff\\xff\\xff')", "bad_body"),
        ("data.sendall(b'\\xff' * 64)", "unknown_kind"),
        ("data.sendall(bytes([1]) + bytes(8))", "bad_body"),
        ("while True: data.sendall(bytes([17, 0, 0, 0, 3, 0, 0, 0, 0]) + b'\\x92\\x01\\x90')", "unexpected_kind"),
        ("data.sendall(bytes([19]) + bytes(8))", "unexpected_kind"),
    ],
)
def test_an_answer_that_is_none_ends_it(host: RunningHost, code: str, reason: str) -> None:
    memory = psutil.Process(host.pids()["third.open"]).memory_info().rss
    with pytest.raises(Unavailable, match=f"worker model broke its protocol: {reason}"):
        run(host, code)
    assert psutil.Process(host.pids()["third.open"]).memory_info().rss < memory + (16 << 20)


def test_one_that_speaks_without_a_call_or_never_stops_printing_hurts_nobody(host: RunningHost) -> None:
    run(host, "import threading, os\ndef flood():\n while True: os.write(2, b'x' * 99 + bytes([10]))\n"
        "threading.Thread(target=flood, daemon=True).start()")  # fmt: skip
    begin = time.monotonic()
    assert host.client().call(VICTIM, "found", "y")["label"] == "y"
    assert time.monotonic() - begin < 10
    run(host, "import threading, time\ndef speak():\n time.sleep(0.1); data.sendall(bytes([19]) + bytes(8))\n"
        "threading.Thread(target=speak, daemon=True).start()")  # fmt: skip
    host.until(lambda document: not host.loop("third.open")["programs"][0]["running"], "the end of the worker")


def test_one_that_never_answers_is_ended_with_all_its_children(host: RunningHost) -> None:
    code = (
        "import os, time, signal\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
        "if os.fork() == 0: os.setsid()\nwhile True: time.sleep(9)"
    )
    with pytest.raises(DeadlineExceeded):
        run(host, code)
    assert run(host, "import os; result = os.getpid()") == 1


def test_it_does_not_outlive_its_component(host: RunningHost) -> None:
    run(host, "import os, time\nif os.fork() == 0:\n os.setsid()\n while True: time.sleep(9)")
    (entry,) = host.loop("third.open")["programs"][0]["running"]
    family = [psutil.Process(entry["pid"]), *psutil.Process(entry["pid"]).children()]
    assert len(family) == 2
    before = host.pids()["third.open"]
    os.kill(before, signal.SIGKILL)
    psutil.wait_procs(family, timeout=5)
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
