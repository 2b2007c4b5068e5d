"""Network namespaces that a test makes: `ip`, and what is made inside of one."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

_NETWORK = 0x40000000  # CLONE_NEWNET


def ip(*words: str) -> str:
    """Run `ip` and return what it says."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@contextmanager
def inside(space: str) -> Generator[None, None, None]:
    """Have what this thread makes here belong to a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{space}", os.O_RDONLY)
    try:
        assert libc.setns(there, _NETWORK) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert libc.setns(home, _NETWORK) == 0
        os.close(home)
        os.close(there)


@contextmanager
def network_space(name: str) -> Generator[None, None, None]:
    """A namespace of this name, with a loopback that is up and one pair of links: `near`, and its other end `far`."""
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "near", "type", "veth", "peer", "name", "far")
        yield
    finally:
        ip("netns", "del", name)
