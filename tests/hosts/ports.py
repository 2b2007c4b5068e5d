"""Ports and uids that no other host has: neither of this process nor of those that share the suite."""

from __future__ import annotations

import os
import secrets
import socket

from tlsrt.config.schema import SandboxConfig

_UIDS_OF_ONE = 4096  # that one process of a shared suite has for its hosts


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now, and that the kernel gives to nobody who asks for any.

    Other tests run beside this one: a port below ip_local_port_range(7) is drawn, and is not handed out meanwhile. The
    processes that share a suite draw from different ones, as a host comes to its port again after a while without it.
    """
    number, hands = map(int, os.environ.get("SUITE_HAND", "1/1").split("/"))
    while True:
        port = secrets.randbelow(20000 // hands) * hands + 10000 + number - 1
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def uid_base() -> int:
    """Return the first uid of hosts here: a limit of processes counts all of a uid, and other hosts run beside it.

    In processes that share a suite it is not the one of a host whose configuration names none.
    """
    number, hands = map(int, os.environ.get("SUITE_HAND", "1/1").split("/"))
    return SandboxConfig().uid_base + (_UIDS_OF_ONE * number if hands > 1 else 0)
