"""The listening sockets of a server, and what is accepted from them. asyncio."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Protocol

ACCEPTS_PER_TURN = 32  # so that a flood of connections does not starve those that exist
PAUSE_S = 0.1  # after running out of descriptors or memory
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor(Protocol):
    """What takes accepted sockets."""

    def may_accept(self) -> bool:
        """Whether to accept now; what is not accepted waits in the kernel, and is asked for in the next turn."""

    def take(self, accepted: socket.socket, address: str) -> None:
        """Take a socket that was accepted, from this address."""

    def on_exhausted(self) -> None:
        """There is no descriptor or no memory for another one."""


class Listeners:
    """The sockets, by the descriptor that each is a duplicate of."""

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, socket.socket] = {}

    def __len__(self) -> int:
        return len(self._sockets)

    def listen(self, descriptor: int) -> None:
        """Accept on a dup of this listening socket from now on; once, however often it is said."""
        if descriptor in self._sockets:
            return
        listener = socket.socket(fileno=os.dup(descriptor))
        listener.setblocking(False)
        self._sockets[descriptor] = listener
        self._loop.add_reader(listener.fileno(), self._accept, listener)

    def close(self) -> None:
        """Accept no more. The sockets themselves belong to the supervisor and stay open there."""
        for listener in self._sockets.values():
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        if not self._acceptor.may_accept():
            return
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, name = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listener)
                return  # else: the client went away before we took it
            self._acceptor.take(accepted, str(name[0]))

    def _pause(self, listener: socket.socket) -> None:
        self._acceptor.on_exhausted()
        self._loop.remove_reader(listener.fileno())
        self._loop.call_later(PAUSE_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._sockets.values():
            self._loop.add_reader(listener.fileno(), self._accept, listener)
