"""What libraries do: one function for each line of the page "what your library may not do"."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import importlib.metadata
import os
import platform
import resource
import select
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from tlsrt import Component, handler
from tlsrt.sandbox.seccomp.syscall_numbers import NUMBERS

_libc = ctypes.CDLL(None, use_errno=True)
_OPENAT = NUMBERS[os.uname().machine]["openat"]


class Everyday(Component):
    """Tries one of them."""

    @handler
    async def attempt(self, what: str) -> str:
        """Return "works", the name of an errno, or that of an exception."""
        try:
            CALLS[what]()
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, type(error).__name__)
        except Exception as error:
            return type(error).__name__
        return "works"


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "call")


def _lock() -> None:
    with open("/state/lock", "wb") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _chmod() -> None:
    Path("/state/mode").write_bytes(b"x")
    os.chmod("/state/mode", 0o755)


def _listen() -> None:
    with socket.socket() as made:
        made.bind(("0.0.0.0", 8080))


def _source() -> None:
    with socket.socket() as made:
        made.bind(("0.0.0.0", 0))


def _pair() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            client.connect(("127.0.0.1", listener.getsockname()[1]))
        listener.accept()[0].close()


def _unlisted() -> None:
    with socket.socket() as made:
        made.connect(("192.0.2.8", 443))


def _callback() -> None:
    ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0)


def _buffer() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)


def _pipe() -> None:
    for descriptor in os.pipe():
        os.close(descriptor)


def _temporary() -> None:
    with tempfile.TemporaryDirectory(dir="/state"):
        pass


CALLS: dict[str, Callable[[], object]] = {
    "socket.SO_SNDBUF": _buffer,
    "os.sched_setaffinity": lambda: os.sched_setaffinity(0, {0}),
    "os.nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    "mbind": lambda: _check(_libc.syscall(237, 0, 0, 0, 0, 0, 0) if os.uname().machine == "x86_64" else 0),
    "os.chmod": _chmod,
    "os.chown": lambda: os.chown("/state", 0, 0),
    "os.pipe": _pipe,
    "socket.socketpair": socket.socketpair,
    "fcntl.lockf": _lock,
    "bind to port 0": _source,
    "a socket pair over loopback": _pair,
    "select.epoll": lambda: select.epoll().close(),
    "resource.getrlimit": lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
    "resource.setrlimit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)),
    "os.listxattr": lambda: os.listxattr("/state"),
    "os.get_terminal_size": lambda: os.get_terminal_size(0),
    "importlib.metadata.version": lambda: importlib.metadata.version("msgpack"),
    "platform.processor": platform.processor,
    "platform.architecture": platform.architecture,
    "open(/dev/urandom)": lambda: Path("/dev/urandom").open("rb").close(),
    "open with an unused mode": lambda: _check(_libc.syscall(_OPENAT, -100, b"/dev/null", os.O_RDONLY, 0o7777)),
    "inotify": lambda: _check(_libc.inotify_init1(0)),
    "os.memfd_create": lambda: os.close(os.memfd_create("x")),
    "tempfile in self.state": _temporary,
    "tempfile.gettempdir()": lambda: os.rmdir(tempfile.mkdtemp()),
    "tempfile in /tmp": lambda: os.rmdir(tempfile.mkdtemp(dir="/tmp")),
    "ctypes.CFUNCTYPE": _callback,
    "bind to a port": _listen,
    "connect to a host without a rule": _unlisted,
    "os.chdir": lambda: os.chdir("/state"),
    "os.symlink": lambda: os.symlink("a", "/state/b"),
    "a raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
}
