"""The undo process: outside of the pid namespace, it undoes a change when the component that made it has died.

    component -- length, seconds, messages -->  undo process   before the change
              <-- K, it is kept ---------------                (or R, and a reason)
              -- D, it is not needed ---------->               confirmed, or undone by the component itself

The kernel ends every process of the runtime with the supervisor, and each of these with its component. So what is to
happen then is done by a child of the launcher, which no end takes along: the end of the stream without a D, or of the
time, is what it waits for. It lives as long as one trial.

What it was given are requests of rtnetlink(7), which it checks before it says K. It executes nothing. It keeps no file,
no capability but CAP_NET_ADMIN, and the calls to read, wait and send: what it can be made to do is what a program with
`netlink: {route: ...}` may do anyway, and less, as of links it sets only the state and the MTU.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

from tlsrt.errors import PeerError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply import landlock
from tlsrt.sandbox.capabilities import mask
from tlsrt.sandbox.seccomp import bpf, install
from tlsrt.supervisor.helper.netlink import (
    ACK,
    CREATE,
    EXCLUSIVE,
    REQUEST,
    NetlinkMessage,
    attributes_untrusted,
    message,
    messages_untrusted,
    outcome_untrusted,
)

HEADER = struct.Struct("!II")  # bytes of the messages, seconds
KEPT, REFUSED, DONE = b"K", b"R", b"D"
MOST_BYTES, MOST_MESSAGES = 256 << 10, 4096
_REQUEST_S = 5.0  # for its component to write all
_ANSWER_S = 1.0  # for the kernel, which answers at once
_PASSES_S = (0.0, 0.3)  # the second one after what was on its way when all died: a program that changes, too
_REPLACE = 0x100  # NLM_F_REPLACE
_SET_LINK, _NEW_ADDRESS, _REMOVE_ADDRESS, _NEW_ROUTE, _REMOVE_ROUTE = 19, 20, 21, 24, 25  # RTM_*
_FIXED = {_SET_LINK: 16, _NEW_ADDRESS: 8, _REMOVE_ADDRESS: 8, _NEW_ROUTE: 12, _REMOVE_ROUTE: 12}
_MTU = 4  # IFLA_MTU
_PR_GET_SECCOMP = 21
_FLAGS = REQUEST | ACK | CREATE | EXCLUSIVE | _REPLACE
_IS_SO = {errno.EEXIST, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENOENT, errno.ENXIO}
_CALLS = (
    "read", "recvfrom", "write", "sendto", "poll", "ppoll", "close", "exit_group", "rt_sigreturn", "rt_sigprocmask",
    "brk", "mmap", "munmap", "mremap", "madvise", "futex", "clock_gettime", "clock_nanosleep", "getpid",
)  # fmt: skip


def keep(component: int, most_s: int) -> int:
    """In a child of the launcher, its signals blocked: keep one undo for so long at most; return an exit code."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    kernel.bind((0, 0))
    own = socket.socket(fileno=component)
    own.setblocking(True)
    _confine(frozenset({component, kernel.fileno(), 2}))
    try:
        messages, seconds = _read_untrusted(own, most_s)
    except PeerError as error:
        with suppress(OSError):
            own.send(REFUSED + error.reason.encode())
        return 1
    with suppress(OSError):  # it has died meanwhile, and has changed nothing
        own.send(KEPT)
        if _is_released(own, seconds):
            return 0
    _say(len(messages), _undo(kernel, messages))
    return 0


def checked_untrusted(data: bytes) -> list[NetlinkMessage]:
    """Return the requests of an undo. Raises PeerError for anything that it may not have."""
    messages = list(messages_untrusted(data))
    if len(messages) > MOST_MESSAGES:
        raise PeerError("too_many_messages")
    for one in messages:
        fixed = _FIXED.get(one.type)
        if fixed is None or len(one.body) < fixed or one.flags & ~_FLAGS:
            raise PeerError("not_an_undo")
        if one.type == _SET_LINK and attributes_untrusted(one.body[fixed:]).keys() - {_MTU}:
            raise PeerError("not_an_undo")
    return messages


def _confine(kept: frozenset[int]) -> None:
    """Give up everything that it does not need. Raises SandboxError and OSError, which end it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # who ends the host does not mean the undo
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    os.setgroups([])
    syscalls.close_all_but(kept)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    landlock.apply_rules(landlock.Rules((), frozenset(), frozenset()))
    syscalls.capset(mask(["CAP_NET_ADMIN"]))
    machine = os.uname().machine
    numbers = syscalls.numbers_of(machine)
    refused = bpf.errno_action(errno.EPERM)
    allowed = {numbers[name]: bpf.Rule((), bpf.ALLOW) for name in _CALLS if name in numbers}
    looks = bpf.Case((bpf.Check(0, (_PR_GET_SECCOMP,)),), bpf.ALLOW)  # whether the filter is there
    allowed[numbers["prctl"]] = bpf.Rule((looks,), refused)
    install.install(bpf.assemble(machine, allowed, refused))


def _read_untrusted(own: socket.socket, most_s: int) -> tuple[list[NetlinkMessage], int]:
    end = time.monotonic() + _REQUEST_S
    length, seconds = HEADER.unpack(_exactly(own, HEADER.size, end))
    if length > MOST_BYTES or not 0 < seconds <= most_s:
        raise PeerError("out_of_range")
    return checked_untrusted(_exactly(own, length, end)), seconds


def _exactly(own: socket.socket, count: int, end: float) -> bytes:
    pieces: list[bytes] = []
    while count:
        if not _waits(own, max(0.0, end - time.monotonic())):
            raise PeerError("late")
        try:
            piece = own.recv(count)
        except OSError:
            piece = b""
        if not piece:
            raise PeerError("closed")
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _waits(one: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(one, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _is_released(own: socket.socket, seconds: float) -> bool:
    """Wait for the word that it is not needed; False for the end of the stream, or of the time."""
    return _waits(own, seconds) and own.recv(1) == DONE


def _undo(kernel: socket.socket, messages: Sequence[NetlinkMessage]) -> int:
    """Have the kernel do it; return how many requests it has refused in the last pass."""
    refused, sequence = 0, 0
    for wait_s in _PASSES_S:
        time.sleep(wait_s)
        refused = 0
        for one in messages:
            sequence += 1
            refused += _ask(kernel, one, sequence) not in {0, *_IS_SO}
    return refused


def _ask(kernel: socket.socket, one: NetlinkMessage, sequence: int) -> int:
    try:
        kernel.send(message(one.type, one.flags | REQUEST | ACK, sequence, one.body))
        while _waits(kernel, _ANSWER_S):
            outcome = outcome_untrusted(kernel.recv(1 << 16), sequence)
            if outcome is not None:
                return outcome
    except (OSError, PeerError):
        pass
    return errno.EIO


def _say(count: int, refused: int) -> None:
    how = f"; the kernel refused {refused} of {count} requests" if refused else ""
    with suppress(OSError):
        os.write(2, f"tlsrt: undid a change of the network on trial, as what tried it has ended{how}\n".encode())
