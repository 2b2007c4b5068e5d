"""What to do about a refused system call, in words that continue the report of it. Pure.

Only what an honest library does by itself gets a hint: its user does not know which calls it makes.
"""

from __future__ import annotations

import socket

from tlsrt.sandbox.seccomp.notify import Notification
from tlsrt.sandbox.syscalls import CLONE_THREAD

_PROT_EXEC = 4
_THREAD = ": it cannot start a thread; put `threads: N` under the needs of its component"
_PROCESS = ": a component starts no process; declare what it runs under `programs`"
_EXECUTABLE = (
    ": no component gets executable memory, which callbacks of ctypes and cffi, and JIT compilers, need; run what "
    "needs it as a program with `executable_memory`"
)
_NETWORK = ": it has no network; put egress rules under the needs of its component"


_INTERFACES = ": it sees no interfaces of the host; to read them takes `network` under the needs of its component"
_EVENTS = (
    ": no component hears the kernel itself; ask for `events: [{kind: uevents, why: ...}]`, and read self.host_events"
)
_RAW = ": nothing sends or takes raw packets; `egress` has TCP and UDP"
_ROUTE, _UEVENT = 0, 15  # netlink(7)

_LISTEN = ": a component makes no socket that listens; put `listen` under its needs"


def hint_of(call: Notification) -> str:
    """Return the hint; "" for a call that has none."""
    first, third = call.arguments[0], call.arguments[2]
    if call.call == "clone" and first & CLONE_THREAD:
        return _THREAD
    if call.call in ("clone", "fork", "vfork"):
        return _PROCESS
    if call.call in ("mmap", "mprotect", "pkey_mprotect") and third & _PROT_EXEC:
        return _EXECUTABLE
    if call.call == "socket" and first & 0xFFFFFFFF in (socket.AF_INET, socket.AF_INET6):
        return _NETWORK
    if call.call == "socket" and first & 0xFFFFFFFF == socket.AF_NETLINK:
        return {_ROUTE: _INTERFACES, _UEVENT: _EVENTS}.get(third & 0xFFFFFFFF, "")
    if call.call == "socket" and first & 0xFFFFFFFF == socket.AF_PACKET:
        return _RAW
    return _LISTEN if call.call == "listen" else ""
