"""Fork server: forks the children of the supervisor, from memory that nothing has changed since the start.

A child shares with its siblings what it was forked with and none of them has written. The supervisor itself goes on
working, so a child that it forks an hour later shares little. This process is forked from it once, when all that loops
need is imported, and from then on waits for requests and forks:

    supervisor --- request: descriptors, where to fork ---> fork server --- clone3(CLONE_PARENT) ---> child
        |  <------------------- pid -------------------------    |                                     ^
        +------- go, on a pipe that came with the request -------+-------------------------------------+

The child is the supervisor's own: its end, its signals and its parent's death are the supervisor's business, as if that
had forked it. What it is to do travels as a pickled call in sealed memory, which the child alone reads: the fork server
parses numbers and keeps nothing, and a reload's configuration comes with the next request. A child of which the
supervisor has not heard is not told to go, and ends.

One request is for another fork server: the spare, which sleeps until the one that works is lost. It is forked from
the same memory, which nothing has changed, so what it forks later is as clean and shares as much. It has no frame of
another process on its stack: the tenth of its line begins like the first.

The fork server has the rights of the supervisor, as each child needs them until it has confined itself. It holds no
key, as the supervisor does not, and no descriptor but its channel, a pidfd of the supervisor and the standard ones. No
confined process has a way to it. The supervisor's side is `fork_servers.py`.

When all are lost at once another first one is forked from the supervisor as it is then (decision 51).
"""

from __future__ import annotations

import os
import pickle  # from the supervisor only, over a socket pair that no other process has
import select
import signal
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from tlsrt.errors import EX_SOFTWARE
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply.inherited import place
from tlsrt.supervisor.process.filled_pools import hold_filled
from tlsrt.supervisor.process.spawn import fork, freeze_again

NAME = "fork_server"
SPARE_NAME = "spare_server"  # another one, so that who kills by name kills one
HEAD = struct.Struct("!???I")  # a spare, in a pid namespace of its own, into a control group; how many descriptors come
ANSWER = struct.Struct("!i")  # the pid, or the number of an error, negative
A_PACKET = 250  # descriptors; SCM_MAX_FD is 253
GO = b"g"
_STANDARD = frozenset({0, 1, 2})


class _Request(NamedTuple):
    """What the fork server is asked: where to fork, and what the child begins with."""

    is_spare: bool
    own_pid_namespace: bool
    go: int  # the pipe
    memory: int  # the call, and the numbers of the descriptors; of a spare: its channel
    group: int  # -1: none
    descriptors: list[int]


def serve(channel: int, parent: int, *, is_again: bool = False) -> int:
    """In the first fork server: fork until the supervisor lets go. `parent` is the supervisor's pidfd.

    One that comes `again`, when all were lost, settles what the supervisor has made since the start, and then says so.
    """
    syscalls.name_thread(NAME.encode())
    try:
        syscalls.close_all_but(_STANDARD | {channel, parent})
    except OSError:
        return EX_SOFTWARE  # in silence: the supervisor forks by itself, and its child says which layer that is
    if is_again:
        freeze_again()
    hold_filled()
    server = socket.socket(fileno=channel)
    if is_again:
        server.send(ANSWER.pack(0))
    return _serve(server, parent)


def _serve(server: socket.socket, parent: int) -> int:
    is_spare = False
    while (request := _receive(server)) is not None:
        if is_spare:
            is_spare = False
            syscalls.name_thread(NAME.encode())
        pid = _fork_spare() if request.is_spare else _fork(request, parent)
        if pid == 0:  # only a spare comes here, in the loop of the one before and not below it
            server.close()
            if not _may_begin(request.go, parent):
                return EX_SOFTWARE
            syscalls.close_all_but(_STANDARD | {request.memory, parent})
            syscalls.name_thread(SPARE_NAME.encode())
            server, is_spare = socket.socket(fileno=request.memory), True
            continue
        server.send(ANSWER.pack(pid))
        for descriptor in (request.go, request.memory, request.group, *request.descriptors):
            if descriptor >= 0:
                os.close(descriptor)
    return 0


def _receive(server: socket.socket) -> _Request | None:
    head, descriptors, _, _ = socket.recv_fds(server, HEAD.size, A_PACKET, socket.MSG_CMSG_CLOEXEC)
    if not head:
        return None
    is_spare, own_pid_namespace, has_group, count = HEAD.unpack(head)
    while len(descriptors) < count:
        more = socket.recv_fds(server, HEAD.size, A_PACKET, socket.MSG_CMSG_CLOEXEC)[1]
        if not more:  # some were lost for want of numbers: this one is done with
            return None
        descriptors += more
    go, memory, *rest = descriptors
    group = rest.pop(0) if has_group else -1
    return _Request(is_spare, own_pid_namespace, go, memory, group, rest)


def _fork(request: _Request, parent: int) -> int:
    try:
        return fork(
            lambda: _begin(request.memory, request.go, request.descriptors), parent,
            own_pid_namespace=request.own_pid_namespace, group=request.group, as_sibling=True,
        )  # fmt: skip
    except OSError as error:
        return -(error.errno or 1)


def _fork_spare() -> int:
    """Fork, and return 0 in the child. Signals need no care: this process has dropped its handlers at its begin."""
    try:
        return syscalls.fork(as_sibling=True)
    except OSError as error:
        return -(error.errno or 1)


def _may_begin(go: int, parent: int) -> bool:
    """In a spare: tie its life to the supervisor's, and wait until that knows it."""
    syscalls.die_with_parent(signal.SIGKILL)
    poll = select.poll()
    poll.register(parent, select.POLLIN)
    return not poll.poll(0) and os.read(go, len(GO)) == GO


def _begin(memory: int, go: int, descriptors: Sequence[int]) -> int:
    """In the child: wait until the supervisor knows it, then do what it was forked for."""
    if os.read(go, len(GO)) != GO:
        return EX_SOFTWARE
    content = os.pread(memory, os.fstat(memory).st_size, 0)
    syscalls.close_all_but(_STANDARD.union(descriptors))
    numbers, body = pickle.loads(content)  # noqa: S301  see above
    keys = [str(number) for number in numbers]
    place(dict(zip(keys, descriptors, strict=True)), dict(zip(keys, numbers, strict=True)))
    syscalls.close_all_but(_STANDARD.union(numbers))
    code: int = body()
    return code
