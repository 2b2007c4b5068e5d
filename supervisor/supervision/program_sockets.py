"""The sockets of one run of a program: ends for its component, ends for its process, and what the supervisor keeps."""

from __future__ import annotations

import socket
from contextlib import suppress

from tlsrt.channels.control.life import ProgramSocket
from tlsrt.config.programs import ProgramConfig

SOCKET_BYTES = 1 << 20  # of each direction, if the host gives so much
_SO_SNDBUFFORCE = 32  # socket(7)


class RunSockets:
    """Made before the fork; `close_passed` lets go of what others have then. Raises OSError."""

    def __init__(self, program: ProgramConfig) -> None:
        self._passed: list[socket.socket] = []
        self._kept: list[socket.socket] = []
        self.further: list[tuple[ProgramSocket, socket.socket]] = []  # for the component
        self.talk: socket.socket | None = None  # for the process
        self.undo: socket.socket | None = None  # for the process of an undo
        self.notices: socket.socket | None = None  # kept: what its NOTIFY_SOCKET stands for
        try:
            data, self.data = self._pair(socket.SOCK_STREAM)
            errors, self.errors = self._pair(socket.SOCK_STREAM)
            for one in (data, self.data):
                _enlarge(one)
            leash, self.leash = self._pair(socket.SOCK_SEQPACKET)
            self.control, self.their_control = self._pair(socket.SOCK_SEQPACKET)
            # What the launcher says until it executes: it may write no file where the program may not.
            self.words, self.log = self._pair(socket.SOCK_STREAM)
            for one in (self.words, self.log):
                one.setblocking(False)
            self._keep(self.leash, self.control, self.words)
            self.given = (data, errors, leash)
            if program.talks:
                one, self.talk = self._pair(socket.SOCK_STREAM)
                self.further.append((ProgramSocket.TALK, one))
            if program.undo_s:
                one, self.undo = self._pair(socket.SOCK_STREAM)
                self.further.append((ProgramSocket.UNDO, one))
            if program.notifies:
                one, self.notices = self._pair(socket.SOCK_DGRAM)
                self.notices.setblocking(False)  # no component has to listen, and no program waits for it
                self._keep(self.notices)
                self.further.append((ProgramSocket.NOTICES, one))
        except OSError:
            self.close()
            raise

    def _pair(self, kind: int) -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
        self._passed += pair
        return pair

    def _keep(self, *sockets: socket.socket) -> None:
        self._passed = [one for one in self._passed if one not in sockets]
        self._kept += sockets

    def close_passed(self) -> None:
        """Close what the component and the process have."""
        for one in self._passed:
            one.close()

    def close(self) -> None:
        """Close all."""
        self.close_passed()
        for one in self._kept:
            one.close()


def _enlarge(pair: socket.socket) -> None:
    """Give one direction room, so that few wake-ups move much. Not everybody may go beyond the host's limit."""
    for option in (_SO_SNDBUFFORCE, socket.SO_SNDBUF):
        with suppress(OSError):
            pair.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
            return
