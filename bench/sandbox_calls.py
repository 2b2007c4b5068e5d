"""The row `sandbox-syscall`: what Landlock's and seccomp's filters of a loop cost each system call of its work.

A whole message takes too long, on a busy machine, to see them: so one forked process has the filters of a loop and
another one has none, and both do the same calls in turn, measured by their CPU clocks.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.row import Case, PeerMissing, Sample
from tlsrt.errors import SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.profile.profile_files import ProfileFiles, names_for
from tlsrt.sandbox.seccomp import install

LOOP = "third"
TIMES = 20_000


def _works() -> dict[str, Callable[[], object]]:
    """What a loop does for each message, by the name of the case."""
    left, right = socket.socketpair()
    left.setblocking(False)
    waiting = select.epoll()
    waiting.register(left, select.EPOLLIN)

    def pass_on() -> None:
        left.send(b"x")
        right.recv(10)

    return {"epoll_wait": lambda: waiting.poll(0), "sendto, recvfrom": pass_on, "getppid": os.getppid}


def _child(sealed: bool, orders: int, answers: int) -> None:
    works = _works()
    if sealed:
        files = ProfileFiles()
        policy = files.policy(LOOP, files.fragments(names_for(LOOP, network=False)))
        filters = policy.filters(watched=False, pid=os.getpid())
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        install.install(filters.importing)
        install.install_at(filters.seal.address)
    while order := os.read(orders, 100):
        work = works[order.decode()]
        begin = time.process_time_ns()
        for _ in range(TIMES):
            work()
        os.write(answers, json.dumps((time.process_time_ns() - begin) / TIMES).encode() + b"\n")


class Caller:
    """One of the two processes."""

    def __init__(self, orders: int, answers: int) -> None:
        self._orders = orders
        self._answers = os.fdopen(answers)

    def burst(self, case: Case, seconds: float) -> Sample:
        os.write(self._orders, case.name.encode())
        line = self._answers.readline()
        if not line:
            raise PeerMissing("the filters cannot be installed here")
        return {"ns": float(json.loads(line))}

    def close(self) -> None:
        os.close(self._orders)
        self._answers.close()


def open_caller(*, sealed: bool) -> Callable[[Path], AbstractContextManager[Caller]]:
    """Return how to open a process that does the calls, with the filters of a loop or without."""

    @contextmanager
    def opened(folder: Path) -> Iterator[Caller]:
        order_reader, order_writer = os.pipe()
        answer_reader, answer_writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(order_writer)
                _child(sealed, order_reader, answer_writer)
            except (OSError, SandboxError):
                os._exit(1)
            finally:
                os._exit(0)
        os.close(order_reader)
        os.close(answer_writer)
        caller = Caller(order_writer, answer_reader)
        try:
            yield caller
        finally:
            caller.close()
            os.waitpid(pid, 0)

    return opened
