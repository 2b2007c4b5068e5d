"""What runs inside: a process of one task that asks a fork server for children, and prints what it found as JSON."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tlsrt.supervisor.process import fork_server
from tlsrt.supervisor.process.fork_server import ForkServer

OWN_NAMESPACE = os.geteuid() == 0
ENDS_WITH = 7
MANY = 600  # more than two packets carry


def tell(writer: int, said: dict[str, Any]) -> int:
    """In the child: tell what it is, and what it holds."""
    listed = os.listdir("/proc/self/fd")
    held = [int(name) for name in listed if os.path.lexists(f"/proc/self/fd/{name}")]  # not the one that listed them
    with open("/proc/self/status", encoding="ascii") as file:
        parent = next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
    facts = {**said, "pid": os.getpid(), "parent": parent, "held": held, "is_warm": "warm" in globals()}
    os.write(writer, json.dumps(facts).encode())
    return ENDS_WITH


def _asked(server: ForkServer, descriptors: list[int] | None = None) -> dict[str, Any]:
    reader, writer = os.pipe()
    body = partial(tell, writer, {"said": "by the supervisor"})
    child = server.spawn(body, [writer, *(descriptors or [])], own_pid_namespace=OWN_NAMESPACE)
    os.close(writer)
    with open(reader, "rb") as file:
        facts: dict[str, Any] = json.loads(file.read() or b"{}")
    if child is not None:
        ended = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
        assert ended is not None
        facts |= {"code": ended.si_status, "is_known": ended.si_pid == child.pid, "writer": writer}
    return facts


def _begun() -> ForkServer:
    server = ForkServer()
    server.start()
    globals()["warm"] = True  # what happens here later, no child sees
    return server


def child() -> dict[str, Any]:
    server = _begun()
    facts = _asked(server)
    server.stop()
    return facts | {"we": os.getpid(), "ended": server.child is None}


def many_descriptors() -> dict[str, Any]:
    server = _begun()
    null = os.open(os.devnull, os.O_RDONLY)
    many = [os.dup(null) for _ in range(MANY)]
    facts = _asked(server, many)
    server.stop()
    return facts | {"wanted": many}


def gone() -> dict[str, Any]:
    """One that was killed, and one that was stopped."""
    fork_server.ANSWER_S = 0.2
    found: dict[str, Any] = {}
    for number in (signal.SIGKILL, signal.SIGSTOP):
        server = _begun()
        assert server.child is not None
        signal.pidfd_send_signal(server.child.pidfd, number)
        found[number.name] = [_asked(server), _asked(server)]
        ended = os.waitid(os.P_PIDFD, server.child.pidfd, os.WEXITED)
        found[f"{number.name} ends by"] = ended.si_status if ended is not None else 0
        server.stop()
    return found


def _left_of(count: int, act: Callable[[], object]) -> list[int]:
    """Do something with so many free numbers, for which they do not do; return what it did not give back."""
    held = [os.dup(0) for _ in range(64)]  # so that the free numbers lie together
    _, most = was = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.dup(0)
    os.close(first)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first + count, most))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            act()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, was)
    free = [os.dup(0) for _ in range(count)]
    for number in (*free, *held):
        os.close(number)
    return [number for number in range(first, first + count) if number not in free]


def scarce() -> dict[str, Any]:
    """With too few numbers for descriptors, for each count that fails."""
    found = {f"start {count}": _left_of(count, lambda: ForkServer().start()) for count in (0, 1, 2)}
    server = _begun()
    body = partial(tell, 1, {})
    for count in (0, 1, 2):
        found[f"spawn {count}"] = _left_of(
            count, lambda: server.spawn(body, [1], own_pid_namespace=OWN_NAMESPACE)
        )  # fmt: skip
    server.stop()
    return found


if __name__ == "__main__":
    print(json.dumps({"child": child, "many": many_descriptors, "gone": gone, "scarce": scarce}[sys.argv[1]]()))
