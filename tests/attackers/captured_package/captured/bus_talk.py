"""A component that speaks D-Bus byte by byte, as a captured one could: what the test made passes as it is."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

from tlsrt import Component, handler


class Talk(Component):
    """One connection to a bus at a time."""

    async def start(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)

    @handler
    async def join(self, path: str, uid: int, words: str = "") -> str:
        """Connect anew and authenticate as `uid`; return what the other side answers to the last word."""
        self.socket.close()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(self.socket, path)
            said = b"\0AUTH EXTERNAL " + str(uid if uid >= 0 else os.getuid()).encode().hex().encode() + b"\r\n"
            await loop.sock_sendall(self.socket, said + words.encode())
            answer = await asyncio.wait_for(loop.sock_recv(self.socket, 4096), 10)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))
        return answer.decode()

    @handler
    async def converse(self, data: bytes, marker: bytes) -> bytes:
        """Send bytes, and return all that comes until the marker is among it, or the end."""
        loop, found = asyncio.get_running_loop(), bytearray()
        await loop.sock_sendall(self.socket, data)
        async with asyncio.timeout(10):
            while marker not in found:
                piece = await loop.sock_recv(self.socket, 65536)
                if not piece:
                    break
                found += piece
        return bytes(found)

    @handler
    async def ended(self) -> bool:
        """Return when the other side has hung up."""
        async with asyncio.timeout(10):
            try:
                while await asyncio.get_running_loop().sock_recv(self.socket, 4096):
                    pass
            except ConnectionResetError:
                pass
        return True

    @handler
    async def pass_descriptor(self, path: str) -> str:
        """Send a descriptor along, and say how that ends."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            try:
                socket.send_fds(client, [b"\0"], [0])
            except OSError as error:
                return errno.errorcode[error.errno or 0]
        return "sent"

    @handler
    async def kill(self, pid: int) -> str:
        """Try to end a process."""
        try:
            os.kill(pid, 9)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "killed"
