"""The supervisor's side of its fork servers: the one that works, and the spare that takes its place.

The spare is forked by the one that works, from memory that is as it was at the start; the supervisor has heard too
much since to fork another like it. When both are lost at once it forks by itself, until one has begun again: forked
from the supervisor as it is by then, so that what begins later shares that.

The supervisor serves all others and waits for none of them: one that does not answer at once is killed, and the spare
is asked. Only the last one is not killed for that: it may answer late, and meanwhile the supervisor forks by itself.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tlsrt.supervisor.process.children import Child
from tlsrt.supervisor.process.fork_server import A_PACKET, ANSWER, GO, HEAD, NAME, serve
from tlsrt.supervisor.process.memfd import sealed_memory
from tlsrt.supervisor.process.spawn import SpawnedChild, spawn, spawned
from tlsrt.supervisor.process.unkillable import state_in

ANSWER_S = 0.1  # a fork takes a millisecond
BUSY_S = 0.5  # for one that runs, or waits for a page: then the host is slow, and this process as well
START_S = 3.0  # for the first answer, which comes after its pools are filled, and for a late one of the last
_ENDED = ""  # how is known when it is reaped
_BUSY = ("R", "D")
_STATES = {"T": "stopped by a signal", "t": "held by a tracer"}
_Way = tuple[bool, bool, bool]  # the flags of HEAD


class _LostError(Exception):
    """A fork server did not answer."""

    def __init__(self, why: str, *, is_late: bool = False) -> None:
        super().__init__(why)
        self.is_late = is_late


@dataclass(slots=True)
class _Server:
    """One process, and our end of its channel."""

    child: SpawnedChild
    channel: socket.socket
    patience_s: float
    owes_since: float | None = None
    why: str = ""  # it was killed

    def ask(self, way: _Way, descriptors: Sequence[int]) -> int:
        """Return the answer: a pid, or the negative number of an error. Raises _LostError if there is none."""
        head = HEAD.pack(*way, len(descriptors))
        try:
            for first in range(0, len(descriptors), A_PACKET):
                socket.send_fds(self.channel, [head], descriptors[first : first + A_PACKET])
        except OSError as error:
            raise _LostError(_ENDED) from error
        self.owes_since = time.monotonic()
        return self._answer(self.owes_since, self.patience_s)

    def has_answered(self) -> bool:
        """Tell whether it has answered all that it was asked. Raises _LostError for one that never will."""
        if self.owes_since is None:
            return True
        try:
            self._answer(self.owes_since, 0.0)  # too late: what it forked was not told to go
        except _LostError as lost:
            if lost.is_late and time.monotonic() - self.owes_since < START_S:
                return False
            raise
        return True

    def _answer(self, since: float, patience_s: float) -> int:
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        poll.register(self.child.pidfd, select.POLLIN)  # a child that it leaves behind has its channel, too
        wait_s = patience_s
        while not (ready := poll.poll(wait_s * 1000)):
            state, waited_s = state_in(f"/proc/{self.child.host_pid}"), time.monotonic() - since
            if wait_s == 0.0 or waited_s >= BUSY_S or not state.startswith(_BUSY):
                known = _STATES.get(state[:1], f"in state {state}")
                raise _LostError(f"no answer within {waited_s * 1000:.0f} ms, {known}", is_late=True)
            wait_s = ANSWER_S
        if self.channel.fileno() not in dict(ready):
            raise _LostError(_ENDED)
        try:
            packet = self.channel.recv(ANSWER.size)
        except OSError as error:
            raise _LostError(_ENDED) from error
        if len(packet) != ANSWER.size:
            raise _LostError(_ENDED)
        self.owes_since, self.patience_s = None, ANSWER_S
        answer: int = ANSWER.unpack(packet)[0]
        return answer

    def end(self, why: str = "") -> None:
        """Kill the process, and ask it for nothing more; its pidfd tells when it has ended."""
        self.why = self.why or why
        self.channel.close()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.child.pidfd, signal.SIGKILL)


class ForkServers:
    """The fork servers of one life. Without one `spawn` returns None: the caller forks itself."""

    def __init__(self) -> None:
        self._active: _Server | None = None
        self._spare: _Server | None = None
        self._gone: list[_Server] = []  # killed, and not yet reaped

    @property
    def active(self) -> SpawnedChild | None:
        return self._active.child if self._active is not None else None

    @property
    def spare(self) -> SpawnedChild | None:
        return self._spare.child if self._spare is not None else None

    @property
    def children(self) -> Sequence[SpawnedChild]:
        """All that are there, also those that were killed and are not yet forgotten."""
        return [one.child for one in (self._active, self._spare, *self._gone) if one is not None]

    def start(self, *, is_again: bool = False) -> None:
        """Fork the first, once, and again when all are lost. Raises OSError and MisuseError as `spawn.spawn` does.

        One that begins again is asked for nothing before it has said that it is ready.
        """
        parent = os.pidfd_open(os.getpid())
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            os.close(parent)
            raise
        try:
            child = spawn(lambda: serve(theirs.detach(), parent, is_again=is_again), own_pid_namespace=False)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(parent)
        ours.setblocking(False)
        self._active = _Server(child, ours, START_S, owes_since=time.monotonic() if is_again else None)

    def spawn(
        self, body: Callable[[], int], descriptors: Sequence[int], *, own_pid_namespace: bool, group: int = -1
    ) -> SpawnedChild | None:  # fmt: skip
        """Fork a child of ours that runs `body`, a picklable call, with these descriptors at the same numbers.

        None says that no fork server can, now. Raises OSError if the kernel refuses the namespace or the fork.
        """
        if self._active is None:
            return None
        numbers = list(dict.fromkeys(descriptors))
        memory = sealed_memory(pickle.dumps((numbers, body)), NAME)
        try:
            given = [memory, *([group] if group >= 0 else []), *numbers]
            while (server := self._ready()) is not None:
                try:
                    return _fork(server, (False, own_pid_namespace, group >= 0), given)
                except _LostError as lost:
                    self._lose(lost)
            return None
        finally:
            os.close(memory)

    def renew(self) -> bool:
        """Have a spare forked if there is none; tell whether it is worth to ask again. Raises OSError."""
        if self._spare is None and (server := self._ready()) is not None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            try:
                self._spare = _Server(_fork(server, (True, False, False), [theirs.fileno()]), ours, ANSWER_S)
            except _LostError as lost:
                self._lose(lost)
            finally:
                theirs.close()
                if self._spare is None:
                    ours.close()
        return self._spare is None and self._active is not None

    def forget(self, child: Child) -> str:
        """Let go of one that has ended, and was reaped; return why it was killed here, or nothing."""
        server = next(one for one in (self._active, self._spare, *self._gone) if one and one.child is child)
        if server is self._active:
            self._active, self._spare = self._spare, None
        elif server is self._spare:
            self._spare = None
        else:
            self._gone.remove(server)
        server.end()
        os.close(child.pidfd)
        return server.why

    def stop(self) -> None:
        """Kill them and reap them."""
        servers = [one for one in (self._active, self._spare, *self._gone) if one is not None]
        for server in servers:
            server.end()
        for server in servers:
            poll = select.poll()
            poll.register(server.child.pidfd, select.POLLIN)
            poll.poll(START_S * 1000)
            with suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, server.child.pidfd, os.WEXITED | os.WNOHANG)
            self.forget(server.child)

    def _ready(self) -> _Server | None:
        """Return the one to ask; None if there is none, or the last has not yet answered what it was asked before."""
        while (server := self._active) is not None:
            try:
                return server if server.has_answered() else None
            except _LostError as lost:
                self._lose(_LostError(str(lost)))
        return None

    def _lose(self, lost: _LostError) -> None:
        """Replace the one that works by the spare; one that is only late must have one."""
        server = self._active
        if server is None or (lost.is_late and self._spare is None):
            return
        server.end(str(lost))
        self._gone.append(server)
        self._active, self._spare = self._spare, None


def _fork(server: _Server, way: _Way, given: Sequence[int]) -> SpawnedChild:
    """Ask for a child, and let it go. Raises _LostError, and OSError as the kernel says."""
    reader, writer = os.pipe2(os.O_CLOEXEC)  # for this child alone: that of a server before may still wait on its own
    try:
        answer = server.ask(way, [reader, *given])
        if answer < 0:
            raise OSError(-answer, f"fork: {os.strerror(-answer)}")
        try:
            child = spawned(answer)
        except ChildProcessError as error:
            raise _LostError("what it forked is not a child of the supervisor") from error
        os.write(writer, GO)
        return child
    finally:
        os.close(reader)
        os.close(writer)
