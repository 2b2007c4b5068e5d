"""A pair of sockets over loopback, which libraries of portable code make to wake themselves: carried out as a UNIX one.

Theory of operation. Such a library binds a TCP socket to port 0 of 127.0.0.1, listens, connects a second socket to it,
accepts, and closes the first. No component may listen, as that would be a second door into the host. So of `bind`
nothing happens but that the socket is remembered here, and of `listen` nothing at all (self_pair.yaml); `getsockname`
says port 0, and to that port the library connects. Then the two sockets are replaced in the process, under their
numbers, by UNIX ones that are connected already: a listener with the one connection in its queue, whose name is gone
before the process gets it, and the other end of that connection. So `accept` gives the pair, and nothing but the
process itself was ever reached.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

REMEMBERED_MOST = 8
LOOPBACK = (b"\x7f\x00\x00\x01", bytes(15) + b"\x01")


@dataclass(frozen=True, slots=True)
class Replacement:
    """Sockets (owned from here on) that take the places of two of a process; then its call ends well."""

    places: tuple[tuple[int, socket.socket], ...]

    def close(self) -> None:
        for _, ours in self.places:
            ours.close()


class SelfPairs:
    """The sockets of one process that are to be the listening end of such a pair. They hold nothing open."""

    def __init__(self) -> None:
        self._bound: OrderedDict[int, int] = OrderedDict()  # the socket's inode: its number in the process

    def bind(self, ours: socket.socket, number: int) -> None:
        """Remember a socket as bound to loopback."""
        self._bound[_inode(ours)] = number
        while len(self._bound) > REMEMBERED_MOST:
            self._bound.popitem(last=False)

    def take(self) -> tuple[int, int] | None:
        """Return (inode, number) of the socket that was bound last, and forget it."""
        return self._bound.popitem() if self._bound else None


def connected_pair(listener: int, client: int, flags: int) -> Replacement:
    """Make the sockets that replace these two numbers; `flags` are those of the client (O_NONBLOCK). Raises OSError."""
    ours = socket.socket(socket.AF_UNIX)
    theirs = socket.socket(socket.AF_UNIX)
    try:
        with tempfile.TemporaryDirectory(prefix="tlsrt-pair-") as folder:  # 0700: only we can reach it meanwhile
            path = Path(folder, "s")
            ours.bind(os.fspath(path))
            ours.listen(1)
            theirs.connect(os.fspath(path))
        theirs.setblocking(not flags & os.O_NONBLOCK)
    except OSError:
        ours.close()
        theirs.close()
        raise
    return Replacement(((listener, ours), (client, theirs)))


def _inode(ours: socket.socket) -> int:
    return os.fstat(ours.fileno()).st_ino
