"""A process that has imported what `tlsrt-supervisor start` imports, and forks hosts: 0.4 s of processor less for each.

    process = started(made, program, ["--config", path], stdin=..., stdout=..., stderr=..., cwd=..., env=...)

What is returned is a `Popen`, and the host a child of this process, by CLONE_PARENT. Where a start executes, the fork
does what execve(2) would: the words and the environment that /proc shows, descriptors, signals, a `__main__` of its
own. The server begins with the first host, imports nothing that each start does not, runs nothing, and ends with us.

A fork has what the server has inherited and imported. So where a process that begins now would inherit something else
(another user, limit, namespace, control group, a locale), or where code has changed on the disk, None is returned, and
the host is to be executed; and where the kernel has no PR_SET_MM_MAP (CONFIG_CHECKPOINT_RESTORE), so that /proc could
not show the words of a host.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hosts.environment import MadeEnvironment
from tlsrt.config.import_path import inner_command
from tlsrt.supervisor.launch.launcher import passed_on

_SERVER = Path(__file__).with_name("forking_start.py")
_BEGIN = f"exec(compile(open({str(_SERVER)!r}).read(), {str(_SERVER)!r}, 'exec'), {{'__name__': 'forking_start'}})"
_READ_AT_BEGIN = ("LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH")  # by the interpreter and the C library
_READ_AT_BEGIN_PREFIXES = ("LC_", "COVERAGE_")
_LIMITS = [getattr(resource, name) for name in sorted(dir(resource)) if name.startswith("RLIMIT_")]
_STATUS = ("CapInh:", "CapPrm:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:", "SigIgn:", "SigBlk:", "Umask:")


class StartServer:
    """The server of this process, from its begin on."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._inherited = _inherited()
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()  # a request and its answer belong together
        with theirs:
            self._process = subprocess.Popen(
                [*inner_command(_BEGIN), str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=passed_on(os.environ),
            )  # fmt: skip
        told = self._requests.recv(1 << 20)  # nothing from one that cannot set what /proc shows
        self._code = {path: os.stat(path).st_mtime_ns for path in json.loads(told)} if told else {}

    def can_fork(self) -> bool:
        """Tell whether a fork is what a process would be that this one executes now."""
        is_same = bool(self._code) and self._pid == os.getpid() and self._inherited == _inherited()
        return is_same and all(_changed_ns(path) == before for path, before in self._code.items())

    def fork(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """Fork one host; return its pid."""
        with self._lock:
            socket.send_fds(self._requests, [json.dumps(request).encode()], descriptors)
            answer = self._requests.recv(16)
        assert answer, "the start server has ended"
        return int(answer)

    def close(self) -> None:
        """End the server; its hosts are children of this process and live on."""
        self._requests.close()
        self._process.wait()


class _ForkedHost(subprocess.Popen[bytes]):
    """A process like any other that this one began, but forked by the server."""

    def __init__(self, server: StartServer, request: Mapping[str, Any], **options: Any) -> None:
        self._server, self._request = server, request
        super().__init__(request["words"], **options)

    def _execute_child(self, *given: Any) -> None:
        """Stand for the fork and the exec: subprocess.Popen, the same in Python 3.11 to 3.14."""
        to_read, to_write, from_read, from_write, errors_read, errors_write = given[10:16]
        try:
            self.pid = self._server.fork(self._request, [to_read, from_write, errors_write])
            self._child_created = True
        finally:
            self._close_pipe_fds(to_read, to_write, from_read, from_write, errors_read, errors_write)  # type: ignore[attr-defined]


def started(
    made: MadeEnvironment | None, words: Sequence[str], program: str, arguments: Sequence[str], *,
    cwd: Path, env: Mapping[str, str], **streams: Any,
) -> subprocess.Popen[bytes] | None:  # fmt: skip
    """Start a host that runs `program` as its supervisor; None where only an execution is the same.

    `words` are what would be executed, and what /proc shows. All three standard streams must be given. With an
    environment that a test has `made`, the host has the import path of that one's interpreter.
    """
    if threading.current_thread() is not threading.main_thread():
        return None  # a thread's end is the end of what it began, see syscalls.die_with_parent
    if any(os.environ.get(name) != env.get(name) for name in _read_at_begin([*env, *os.environ])):
        return None
    if _inherited() != _AT_IMPORT:
        return None  # nor does a server begin so, which could fork for no test after this one
    server = _start_server(os.getpid())
    if not server.can_fork():
        return None
    request = {
        "words": [*words],
        "program": program,
        "arguments": [*arguments],
        "environment": dict(env),
        "folder": str(cwd),
        "environ": made and [*map(str, (made.python, made.site, made.code))],
    }
    return _ForkedHost(server, request, **streams)


def _inherited() -> object:
    """Return what a child has from us at its birth and a host may notice."""
    status = Path("/proc/self/status").read_text().splitlines()
    return (
        os.getresuid(), os.getresgid(), sorted(os.getgroups()), os.getsid(0), os.getpgid(0),
        [resource.getrlimit(each) for each in _LIMITS], os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0),
        os.sched_getscheduler(0), Path("/proc/self/cgroup").read_text(), Path("/proc/self/oom_score_adj").read_text(),
        {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")},
        os.readlink("/proc/self/root"),
        [line for line in status if line.startswith(_STATUS)],
        {name: os.environ[name] for name in _read_at_begin(os.environ)}, sys.executable,
    )  # fmt: skip


def _changed_ns(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _read_at_begin(names: Sequence[str] | Mapping[str, str]) -> set[str]:
    return {name for name in names if name in _READ_AT_BEGIN or name.startswith(_READ_AT_BEGIN_PREFIXES)}


@cache
def _start_server(pid: int) -> StartServer:
    """Return the server of this process, which `pid` is."""
    server = StartServer()
    atexit.register(_close, server, pid)
    return server


def _close(server: StartServer, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that some test forked
        server.close()


_AT_IMPORT = _inherited()  # while no test runs
