"""Two network namespaces of a test's own, joined by a pair of veth: the host's, and that of a peer."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tools.programs import need

from tlsrt import CallError

CLONE_NEWNET = 0x40000000
HOST, PEER = "10.7.0.1", "10.7.0.2"


@contextmanager
def inside(space: str | Path) -> Iterator[None]:
    """Be in a network namespace, by its name or its file, with this thread, and with what it starts meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    home, there = (os.open(path, os.O_RDONLY) for path in ("/proc/thread-self/ns/net", Path("/run/netns", space)))
    try:
        assert libc.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(there)


def said(*words: str) -> str:
    """Run a program in the namespace in which this thread is; return what it says."""
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


def until(what: Callable[[], bool], seconds: float = 20.0) -> float:
    """Look again until it is so; return how long that took."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() < start + seconds
        time.sleep(0.02)
    return time.monotonic() - start


def is_undone(call: Callable[[str], Any]) -> bool:
    """Tell whether the last trial of a component is undone; not, if it does not answer."""
    try:
        return bool(call("revisions")[0]["state"] == "undone")
    except CallError:
        return False


class JoinedNetworks:
    """`host` has v0 with 10.7.0.1, and `peer` v1 with 10.7.0.2."""

    def __init__(self, name: str) -> None:
        need("ip")
        need("nft")
        self.host, self.peer = (f"tlsrt-{name}-{part}-{os.getpid()}" for part in ("host", "peer"))
        said("ip", "netns", "add", self.host)
        said("ip", "netns", "add", self.peer)
        with inside(self.host):
            said("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", self.peer)
            said("ip", "address", "add", f"{HOST}/24", "dev", "v0")
            said("ip", "link", "set", "lo", "up")
            said("ip", "link", "set", "v0", "up")
        with inside(self.peer):
            said("ip", "address", "add", f"{PEER}/24", "dev", "v1")
            said("ip", "link", "set", "lo", "up")
            said("ip", "link", "set", "v1", "up")

    def close(self) -> None:
        """Remove both."""
        for space in (self.host, self.peer):
            said("ip", "netns", "delete", space)

    def listening(self, port: int) -> socket.socket:
        """Return a socket of the host that listens."""
        with inside(self.host):
            return socket.create_server((HOST, port))

    def reaches(self, port: int, timeout_s: float = 0.4) -> bool:
        """Tell whether the peer comes to a port of the host."""
        with inside(self.peer), suppress(OSError), socket.create_connection((HOST, port), timeout_s):
            return True
        return False
