"""Fork server: forks the children of the supervisor, from memory that nothing has changed since the start.

A child shares with its siblings what it was forked with and none of them has written. The supervisor itself goes on
working, so a child that it forks an hour later shares little. This process is forked from it once, when all that loops
need is imported, and from then on waits for requests and forks:

    supervisor --- request: descriptors, where to fork ---> fork server --- clone3(CLONE_PARENT) ---> child
        |  <------------------- pid -------------------------    |                                     ^
        +------- go, on a pipe that came with the request -------+-------------------------------------+

The child is the supervisor's own: its end, its signals and its parent's death are the supervisor's business, as if that
had forked it. What it is to do travels as a pickled call in sealed memory, which the child alone reads: the fork server
parses a number and keeps nothing, and a reload's configuration comes with the next request. A child of which the
supervisor has not heard is not told to go, and ends.

The fork server has the rights of the supervisor, as each child needs them until it has confined itself. It holds no
key, as the supervisor does not, and no descriptor but its channel, a pidfd of the supervisor and the standard ones. No
confined process has a way to it.
"""

from __future__ import annotations

import os
import pickle  # from the supervisor only, over a socket pair that no other process has
import select
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from tlsrt.errors import EX_SOFTWARE
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply.inherited import place
from tlsrt.supervisor.process.filled_pools import hold_filled
from tlsrt.supervisor.process.memfd import sealed_memory
from tlsrt.supervisor.process.spawn import SpawnedChild, fork, spawn, spawned

NAME = "fork_server"
ANSWER_S = 3.0  # a fork takes a millisecond; one that takes so long on a busy host is none to wait for
_HEAD = struct.Struct("!??I")  # in a pid namespace of its own, into a control group, how many descriptors come
_ANSWER = struct.Struct("!i")  # the pid, or the number of an error, negative
_A_PACKET = 250  # descriptors; SCM_MAX_FD is 253
_STANDARD = frozenset({0, 1, 2})
_GO = b"g"


class Request(NamedTuple):
    """What the fork server is asked: where to fork, and what the child begins with."""

    own_pid_namespace: bool
    group: int  # -1: none
    memory: int  # the call, and the numbers of the descriptors
    go: int  # the pipe
    descriptors: list[int]


class ForkServer:
    """The supervisor's side. Without a process, and when that fails, `spawn` returns None: the caller forks itself."""

    def __init__(self) -> None:
        self.child: SpawnedChild | None = None
        self._channel: socket.socket | None = None

    def start(self) -> None:
        """Fork the process, once. Raises OSError and MisuseError as `spawn` does."""
        parent = os.pidfd_open(os.getpid())
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            os.close(parent)
            raise
        try:
            self.child = spawn(lambda: _serve(theirs.detach(), parent), own_pid_namespace=False)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(parent)
        ours.settimeout(ANSWER_S)
        self._channel = ours

    def spawn(
        self, body: Callable[[], int], descriptors: Sequence[int], *, own_pid_namespace: bool, group: int = -1
    ) -> SpawnedChild | None:  # fmt: skip
        """Fork a child of ours that runs `body`, a picklable call, with these descriptors at the same numbers.

        None says that the fork server cannot. Raises OSError if the kernel refuses the namespace or the fork.
        """
        if self._channel is None:
            return None
        numbers = list(dict.fromkeys(descriptors))
        memory = sealed_memory(pickle.dumps((numbers, body)), NAME)
        try:
            reader, writer = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(memory)
            raise
        try:
            sent = [memory, reader, *([group] if group >= 0 else []), *numbers]
            answer = self._ask(_HEAD.pack(own_pid_namespace, group >= 0, len(sent)), sent)
            if answer < 0:
                raise OSError(-answer, f"fork: {os.strerror(-answer)}")
            child = spawned(answer)
            os.write(writer, _GO)
        except (EOFError, ChildProcessError):
            self.end()
            return None
        finally:
            for descriptor in (memory, reader, writer):
                os.close(descriptor)
        return child

    def _ask(self, head: bytes, descriptors: Sequence[int]) -> int:
        """Return the answer. Raises EOFError if there is none."""
        assert self._channel is not None
        try:
            for first in range(0, len(descriptors), _A_PACKET):
                socket.send_fds(self._channel, [head], descriptors[first : first + _A_PACKET])
            packet = self._channel.recv(_ANSWER.size)
        except OSError as error:
            raise EOFError from error
        if not packet:
            raise EOFError
        number: int = _ANSWER.unpack(packet)[0]
        return number

    def end(self) -> None:
        """Kill the process, and ask it for nothing more; its pidfd tells when it has ended."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self.child is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.child.pidfd, signal.SIGKILL)

    def forget(self) -> None:
        """Let go of a process that has ended, and was reaped."""
        self.end()
        if self.child is not None:
            os.close(self.child.pidfd)
            self.child = None

    def stop(self) -> None:
        """Kill the process and reap it."""
        self.end()
        if self.child is not None:
            poll = select.poll()
            poll.register(self.child.pidfd, select.POLLIN)
            poll.poll(ANSWER_S * 1000)
            with suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self.child.pidfd, os.WEXITED | os.WNOHANG)
            self.forget()


def _serve(channel: int, parent: int) -> int:
    """In the fork server: fork until the supervisor lets go. `parent` is the supervisor's pidfd."""
    syscalls.name_thread(NAME.encode())
    try:
        syscalls.close_all_but(_STANDARD | {channel, parent})
    except OSError:
        return EX_SOFTWARE  # in silence: the supervisor forks by itself, and its child says which layer that is
    server = socket.socket(fileno=channel)
    hold_filled()
    while (request := _receive(server)) is not None:
        server.send(_ANSWER.pack(_fork(request, parent)))
        for descriptor in (request.group, request.memory, request.go, *request.descriptors):
            if descriptor >= 0:
                os.close(descriptor)
    return 0


def _receive(server: socket.socket) -> Request | None:
    head, descriptors, _, _ = socket.recv_fds(server, _HEAD.size, _A_PACKET, socket.MSG_CMSG_CLOEXEC)
    if not head:
        return None
    own_pid_namespace, has_group, count = _HEAD.unpack(head)
    while len(descriptors) < count:
        more = socket.recv_fds(server, _HEAD.size, _A_PACKET, socket.MSG_CMSG_CLOEXEC)[1]
        if not more:  # some were lost for want of numbers: the supervisor forks itself
            return None
        descriptors += more
    memory, go, *rest = descriptors
    group = rest.pop(0) if has_group else -1
    return Request(own_pid_namespace, group, memory, go, rest)


def _fork(request: Request, parent: int) -> int:
    try:
        return fork(
            lambda: _begin(request.memory, request.go, request.descriptors), parent,
            own_pid_namespace=request.own_pid_namespace, group=request.group, as_sibling=True,
        )  # fmt: skip
    except OSError as error:
        return -(error.errno or 1)


def _begin(memory: int, go: int, descriptors: Sequence[int]) -> int:
    """In the child: wait until the supervisor knows it, then do what it was forked for."""
    if os.read(go, len(_GO)) != _GO:
        return EX_SOFTWARE
    content = os.pread(memory, os.fstat(memory).st_size, 0)
    syscalls.close_all_but(_STANDARD.union(descriptors))
    numbers, body = pickle.loads(content)  # noqa: S301  see above
    keys = [str(number) for number in numbers]
    place(dict(zip(keys, descriptors, strict=True)), dict(zip(keys, numbers, strict=True)))
    syscalls.close_all_but(_STANDARD.union(numbers))
    code: int = body()
    return code
