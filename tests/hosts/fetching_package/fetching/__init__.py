"""A component that needs the network, as an operator would write one."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tlsrt import Component, handler


class Fetcher(Component):
    """Asks an echo server."""

    @handler
    async def interfaces(self) -> list[str]:
        """Return the names of the interfaces of its network namespace."""
        return [name for _, name in socket.if_nameindex()]

    @handler
    async def measure(self, host: str, port: int, count: int) -> list[float]:
        """Connect so often, and return the seconds that each took, and those of a short answer over the last one."""
        took: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            with socket.create_connection((host, port), timeout=10):
                took.append(time.perf_counter() - began)
        return took

    @handler
    async def fetch(self, host: str, port: int) -> str:
        """Send a word and return the answer, or the name of the error."""
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(b"ping")
                answer = (await reader.readexactly(4)).decode()
                writer.close()
                return answer
        except socket.gaierror as error:
            return str(error.strerror)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    @handler
    async def through(self, url: str) -> int:
        """Return the status of a URL that external/fetch gets for it."""
        status: int = (await self.call("external/fetch", "get", url))["status"]
        return status

    @handler
    async def hold(self, host: str, port: int) -> str:
        """Begin a connection and keep it; return the name of the error, "" for none."""
        try:
            self._held = [*getattr(self, "_held", []), socket.create_connection((host, port), timeout=10)]
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return ""

    @handler
    async def let_go(self) -> None:
        """Close what it keeps."""
        for held in getattr(self, "_held", []):
            held.close()
        self._held = []

    @handler
    async def carry(self, size: int) -> str:
        """Send so many bytes over the first connection that it keeps, and take them back; return the error."""
        held, loop = self._held[0], asyncio.get_running_loop()
        held.setblocking(False)
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for _ in range(size >> 14):
                await loop.sock_sendall(held, bytes(1 << 14))
                left = 1 << 14
                while left:
                    if not (data := await loop.sock_recv(held, left)):
                        return "end"
                    left -= len(data)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return ""

    @handler
    async def look_up(self, host: str) -> list[str]:
        """Return the addresses of a name, as any library finds them; or why there are none."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, 80, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            return [str(error.strerror)]
        return sorted(str(place[0]) for *_, place in found)

    @handler
    async def bind_by_sending(self) -> int:
        """Have the kernel choose a port for a datagram socket without a peer, and return it."""
        self._unasked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._unasked.setblocking(False)
        try:
            self._unasked.send(b"x")
        except OSError as error:
            if error.errno != errno.EDESTADDRREQ:
                raise
        port: int = self._unasked.getsockname()[1]
        return port

    @handler
    async def unasked(self) -> str:
        """Return what has come to that port, or the name of the error."""
        with self._unasked as own:
            try:
                return own.recv(64).decode()
            except OSError as error:
                return errno.errorcode[error.errno or 0]


class Flooder(Fetcher):
    """A captured component that wears the broker out."""

    @handler
    async def begin_flood(self, count: int) -> str:
        """Begin to make so many sockets, each closed again."""
        self._flood = asyncio.get_running_loop().run_in_executor(None, _make_sockets, count)
        return "begun"

    @handler
    async def end_flood(self) -> int:
        """Return how many it has made in the end."""
        return await self._flood

    @handler
    async def begin_stalling(self, host: str, port: int, count: int) -> str:
        """Begin to wait for so many connections at once."""
        threading.stack_size(1 << 18)  # 8 MiB for each would be more than its memory
        self._waiting = ThreadPoolExecutor(count)
        for _ in range(count):
            self._waiting.submit(socket.create_connection, (host, port))
        return "begun"


def _make_sockets(count: int) -> int:
    for _ in range(count):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    return count


class EarlyFetcher(Fetcher):
    """Looks a name up as many libraries do: once, at the start."""

    def __init__(self) -> None:
        self._at_start = ""

    async def start(self) -> None:
        self._at_start = ", ".join(await self.look_up("echo.test"))

    @handler
    async def by_curl(self, url: str) -> str:
        """Return what curl gets, or why it gets nothing."""
        ended = await self.run("curl", "-sS", url)
        return ended.stdout.decode() or ended.stderr

    @handler
    async def found_at_start(self) -> str:
        """Return what that name was."""
        return self._at_start
