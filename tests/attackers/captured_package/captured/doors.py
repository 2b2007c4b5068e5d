"""A component with listening sockets: what it serves, and what a captured one tries with them."""

from __future__ import annotations

import _socket
import asyncio
import errno
import fcntl
import os
import socket
from collections.abc import Callable
from typing import Any

from tlsrt import Component, MisuseError, handler


def _named(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "allowed"


def _take_numbers() -> list[str]:
    """While code is imported, copies may go to any number: not to those of its sockets, which lie above its limit."""
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        return [_named(lambda: os.dup2(null, number)) for number in (256, 257, 258, 1000)]  # noqa: B023
    finally:
        os.close(null)


AT_IMPORT = _take_numbers()


class Echo(asyncio.DatagramProtocol):
    """Answers each datagram to who sent it."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class Doors(Component):
    """Serves `echo` (tcp) and `beacon` (udp, with answers); `sink` (udp) only receives."""

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, sock=self.listener("echo"))
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(Echo, sock=self.listener("beacon"))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        writer.close()

    @handler
    async def at_import(self) -> list[str]:
        """What came of copies to the numbers of its sockets."""
        return AT_IMPORT

    @handler
    async def received(self) -> str:
        """Return the next datagram of the sink."""
        data = await asyncio.get_running_loop().sock_recv(self.listener("sink"), 64)
        return data.decode()

    @handler
    async def number(self) -> int:
        """Return the number of the socket that may answer."""
        return self.listener("beacon").fileno()

    @handler
    async def unknown(self) -> str:
        """Ask for a listener that it has not."""
        try:
            self.listener("ecco")
        except MisuseError as error:
            return str(error)
        return "found"

    @handler
    async def attempt(self, port: int) -> dict[str, str]:
        """Try to reach 127.0.0.1:port, or to open a further door, by any socket that it can get hold of."""
        place = ("127.0.0.1", port)
        found: dict[str, str] = {}
        sink, own = self.listener("sink"), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        found["sink answers"] = _named(lambda: sink.sendto(b"x", place))
        found["sink connects"] = _named(lambda: sink.connect(place))
        found["copy answers"] = _named(lambda: self.listener("beacon").dup().sendto(b"x", place))
        found["another sends"] = _named(lambda: own.sendto(b"x", b"/run/other"))
        found["beacon connects"] = _named(lambda: self.listener("beacon").connect(place))
        found["another door"] = _named(lambda: socket.socket(socket.AF_UNIX).listen())
        found["binds"] = _named(lambda: socket.socket(socket.AF_UNIX).bind("\0door"))
        found["network"] = _named(lambda: _socket.socket())  # past what stands in for libraries
        found["stand-in connects"] = _named(lambda: socket.socket().connect(place))
        found["stand-in sends"] = _named(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", place))
        taken = self.listener("echo")
        found["ends it"] = _named(lambda: taken.shutdown(socket.SHUT_RDWR))
        found["ended one connects"] = _named(lambda: taken.connect(place))
        found["ended one listens"] = _named(lambda: taken.listen())
        return found

    @handler
    async def renumber(self) -> dict[str, str]:
        """Close the socket that may answer, and try to get another one under its number."""
        number = self.listener("beacon").fileno()
        os.close(number)
        pair = socket.socketpair()
        found = {"copy": _named(lambda: fcntl.fcntl(pair[0], fcntl.F_DUPFD_CLOEXEC, number))}
        found["copy at once"] = _named(lambda: os.dup2(pair[0].fileno(), number))
        kept: list[socket.socket] = []
        while True:
            try:
                kept.append(pair[0].dup())
            except OSError as error:
                found["all numbers"] = errno.errorcode[error.errno or 0]
                break
        found["reached it"] = str(any(one.fileno() >= number for one in kept))
        for one in kept:
            one.close()
        found["sends"] = _named(lambda: os.fstat(number))
        return found


class Replies(Component):
    """Serves `beacon` (udp, with replies) as any library does, and tries to speak to others from there."""

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for name in ("beacon", "club", "second"):
            await loop.create_datagram_endpoint(Echo, sock=self.listener(name))

    @handler
    async def speak(self, host: str, port: int, name: str = "beacon") -> str:
        """Send a datagram from its port to a host of its choice."""
        return _named(lambda: self.listener(name).sendto(b"speak", (host, port)))

    @handler
    async def connect_and_speak(self, host: str, port: int) -> str:
        """Connect the socket first, after which nothing asks where a datagram goes."""
        return _named(lambda: self.listener("beacon").connect((host, port)))


class SelfBound(Component):
    """Serves `own` by a library that takes an address and no socket, as many do, and has no network besides."""

    class Options:
        port: int

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.options.port, reuse_port=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        writer.close()

    @handler
    async def threads(self) -> str:
        """Return what OpenBLAS would have read."""
        return os.environ["OPENBLAS_NUM_THREADS"]

    @handler
    async def elsewhere(self, port: int) -> dict[str, str]:
        """Try to bind or reach another place, by what stands in and past it."""
        place = ("127.0.0.1", port)
        with socket.socket(socket.AF_INET) as own:
            found = {"binds": _named(lambda: own.bind(place))}
        with socket.socket(socket.AF_INET) as own:
            found["connects"] = _named(lambda: own.connect(place))
        found["makes one"] = _named(lambda: _socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        copy = _socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, self.listener("own").detach())
        found["binds the listener"] = _named(lambda: copy.bind(place))
        return found
