"""Messages of a conversation over a stream socket, each behind its length. asyncio."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import msgpack

from tlsrt.testing.conversation import Message

_LENGTH = struct.Struct("=I")
_READ_BYTES = 256 * 1024


class SocketCarrier:
    """Carries messages both ways. `take` gets each that comes, `lost` is called at the end of the other side.

    It uses no call that a sealed process may not make: `send` and `recv` on a socket that is connected.
    """

    def __init__(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        self._socket = ours
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self._unread = bytearray()
        self._take: Callable[[Message], None] = lambda message: None
        self._lost: Callable[[], None] = lambda: None

    def start(self, take: Callable[[Message], None], lost: Callable[[], None]) -> None:
        """Hand messages to `take` from now on."""
        self._take, self._lost = take, lost
        self._loop.add_reader(self._socket, self._read)

    def send(self, message: Message, cause: BaseException | None = None) -> None:
        """Send a message; one that cannot go on now follows later."""
        body = msgpack.packb(message, use_bin_type=True)
        is_first = not self._unsent
        self._unsent += _LENGTH.pack(len(body)) + body
        if is_first:
            self._write()

    def close(self) -> None:
        """End it."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._unsent.clear()
            self._loop.remove_writer(self._socket)
            return  # `_read` sees the end
        del self._unsent[:sent]
        if self._unsent:
            self._loop.add_writer(self._socket, self._write)
        else:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._lost()
            return
        self._unread += data
        while len(self._unread) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._unread)
            if len(self._unread) < _LENGTH.size + length:
                return
            message = msgpack.unpackb(bytes(self._unread[_LENGTH.size : _LENGTH.size + length]), raw=False)
            del self._unread[: _LENGTH.size + length]
            self._take(message)
