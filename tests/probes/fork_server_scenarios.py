"""What runs inside: a process of one task that asks a fork server for children, and prints what it found as JSON."""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tlsrt.supervisor.process import fork_server
from tlsrt.supervisor.process.fork_servers import ForkServers
from tlsrt.supervisor.process.spawn import SpawnedChild

OWN_NAMESPACE = os.geteuid() == 0
ENDS_WITH = 7
MANY = 600  # more than two packets carry
unanswered: list[int] = []  # pipes that have no other writer


def tell(writer: int, said: dict[str, Any]) -> int:
    """In the child: tell what it is, and what it holds."""
    listed = os.listdir("/proc/self/fd")
    held = [int(name) for name in listed if os.path.lexists(f"/proc/self/fd/{name}")]  # not the one that listed them
    with open("/proc/self/status", encoding="ascii") as file:
        parent = next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
    facts = {**said, "pid": os.getpid(), "parent": parent, "held": held, "is_warm": "warm" in globals()}
    facts["frames"] = sum(1 for _ in traceback.walk_stack(None))
    os.write(writer, json.dumps(facts).encode())
    return ENDS_WITH


def _asked(servers: ForkServers, descriptors: list[int] | None = None) -> dict[str, Any]:
    reader, writer = os.pipe()
    body = partial(tell, writer, {"said": "by the supervisor"})
    began = time.monotonic()
    child = servers.spawn(body, [writer, *(descriptors or [])], own_pid_namespace=OWN_NAMESPACE)
    held_s = time.monotonic() - began
    os.close(writer)
    if child is None:
        unanswered.append(reader)  # the one that is stopped holds the other end
        return {"held_s": held_s}
    with open(reader, "rb") as file:
        facts: dict[str, Any] = json.loads(file.read())
    ended = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    assert ended is not None
    known = {"code": ended.si_status, "is_known": ended.si_pid == child.pid, "writer": writer, "held_s": held_s}
    return facts | known


def _begun(*, spare: bool = True) -> ForkServers:
    servers = ForkServers()
    servers.start()
    globals()["warm"] = True  # what happens here later, no child sees
    if spare:
        servers.renew()
    return servers


def _active(servers: ForkServers) -> SpawnedChild:
    assert servers.active is not None
    return servers.active


def _end_of(servers: ForkServers, child: SpawnedChild) -> list[Any]:
    """Return the signal that ended one, and why it was sent."""
    ended = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    return [ended.si_status if ended is not None else 0, servers.forget(child)]


def child() -> dict[str, Any]:
    servers = _begun(spare=False)
    facts = _asked(servers)
    servers.stop()
    return facts | {"we": os.getpid(), "ended": servers.active is None}


def many_descriptors() -> dict[str, Any]:
    servers = _begun(spare=False)
    null = os.open(os.devnull, os.O_RDONLY)
    many = [os.dup(null) for _ in range(MANY)]
    facts = _asked(servers, many)
    servers.stop()
    return facts | {"wanted": many}


def replaced() -> dict[str, Any]:
    """Those that are killed or stopped, one after the other: what the next ones fork, and how they ended."""
    servers, found = _begun(), []
    for number in (None, signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL):
        before = _active(servers)
        if number is not None:
            signal.pidfd_send_signal(before.pidfd, number)
        facts = _asked(servers) | {"children": len(servers.children)}
        end = _end_of(servers, before) if number is not None else []
        found.append(facts | {"end": end, "is_renewed": not servers.renew() and servers.spare is not None})
    servers.stop()
    return {"found": found, "left": len(servers.children)}


def in_the_middle() -> dict[str, Any]:
    """One that forks, and is killed before it can tell."""
    doomed: list[int] = []
    forked = fork_server._fork

    def killed(request: Any, parent: int) -> int:
        pid = forked(request, parent)
        if os.getpid() in doomed:
            os.kill(os.getpid(), signal.SIGKILL)
        return pid

    vars(fork_server).update(hold_filled=lambda: doomed.append(os.getpid()), _fork=killed)  # the first alone calls it
    servers = _begun()
    first = _active(servers)
    facts = _asked(servers)  # one answer in its pipe: what the first has forked has done nothing
    facts["end"] = _end_of(servers, first)
    servers.stop()
    return facts


def both() -> dict[str, Any]:
    """Both are stopped, and the last one goes on later; then both are killed."""
    servers = _begun()
    first, last = servers.children
    for one in (first, last):
        signal.pidfd_send_signal(one.pidfd, signal.SIGSTOP)
    found: dict[str, Any] = {"stopped": _asked(servers), "again": _asked(servers), "end": _end_of(servers, first)}
    signal.pidfd_send_signal(last.pidfd, signal.SIGCONT)
    limit = time.monotonic() + 10
    while servers._ready() is None and time.monotonic() < limit:
        select.select([], [], [], 0.01)
    found["goes on"] = _asked(servers)
    servers.renew()
    for one in servers.children:
        signal.pidfd_send_signal(one.pidfd, signal.SIGKILL)
    found["killed"] = _asked(servers)
    found["is over"] = not servers.renew() and servers.active is None
    for one in servers.children:
        _end_of(servers, one)
    servers.start(is_again=True)
    while servers._ready() is None and time.monotonic() < limit:
        select.select([], [], [], 0.01)
    found["begun again"] = _asked(servers)
    found["has spare"] = not servers.renew() and servers.spare is not None
    servers.stop()
    found["said late"] = [os.read(reader, 100).decode() for reader in unanswered]
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
    found = {f"start {count}": _left_of(count, lambda: ForkServers().start()) for count in (0, 1, 2)}
    server = _begun(spare=False)
    body = partial(tell, 1, {})
    for count in (0, 1, 2):
        found[f"spawn {count}"] = _left_of(
            count, lambda: server.spawn(body, [1], own_pid_namespace=OWN_NAMESPACE)
        )  # fmt: skip
        found[f"renew {count}"] = _left_of(count, server.renew)
    server.stop()
    return found


if __name__ == "__main__":
    scenarios = {
        "child": child, "many": many_descriptors, "replaced": replaced, "middle": in_the_middle, "both": both,
        "scarce": scarce,
    }  # fmt: skip
    print(json.dumps(scenarios[sys.argv[1]]()))
