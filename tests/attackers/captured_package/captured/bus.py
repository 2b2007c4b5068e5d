"""A component that speaks to other programs over UNIX sockets, and what a captured one tries with them."""

from __future__ import annotations

import asyncio
import errno
import socket

from tlsrt import Component, handler


def _asked(path: str) -> str:
    """Return what the other side says, or the name of the error."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            return client.recv(4096).decode() or "closed"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))


class Bus(Component):
    """Connects to what it was granted, by the path that it has outside."""

    @handler
    async def ask(self, path: str) -> str:
        """Connect as any program would, and return what the other side says of us."""
        return _asked(path)

    @handler
    async def ask_by_asyncio(self, path: str) -> str:
        """The same with streams of asyncio."""
        reader, writer = await asyncio.open_unix_connection(path)
        said = await reader.read(4096)
        writer.close()
        return said.decode()

    @handler
    async def ask_often(self, path: str, count: int) -> dict[str, int]:
        """Connect again and again; return how often each answer came."""
        found: dict[str, int] = {}
        for _ in range(count):
            said = _asked(path)
            word = said if said.startswith("E") else "answered"
            found[word] = found.get(word, 0) + 1
            await asyncio.sleep(0)
        return found

    @handler
    async def send_to(self, path: str) -> str:
        """Name an address as a datagram is sent."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            try:
                client.sendto(b"x", path)
            except OSError as error:
                return errno.errorcode.get(error.errno or 0, str(error))
        return "sent"

    @handler
    async def greet(self, path: str, uid: int) -> str:
        """Say to a D-Bus daemon that we are `uid`, and return what it answers."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            client.send(b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\n")
            return client.recv(256).decode().split()[0]
