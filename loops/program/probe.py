"""Probes of a listener: whether the program behind it takes connections, and what it answers to GET.

The supervisor keeps a listening socket open over the deaths of its program, so connect(2) says nothing about the
program: the kernel takes the connection and puts it into the queue. What says something is whether that queue becomes
empty, which a descriptor of the listening socket tells (TCP_INFO, tcp(7): `tcpi_unacked` of a socket that listens is
the length of its accept queue, `tcp_get_info` in the kernel). A program can end the listening of the socket itself,
for all who have it: its next run gets another one, which this process does not have before it is started again.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from contextlib import suppress

_INFO = struct.Struct("=B7x16xI")  # struct tcp_info of <linux/tcp.h>: tcpi_state, and its fifth number, tcpi_unacked
_LISTENS = 10  # TCP_LISTEN of <linux/tcp.h>
_LOOK_S = 0.02
_HEAD_MOST = 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


def queue_of(listener: socket.socket) -> int | None:
    """Return how many connections wait to be taken from a socket; None if it does not listen. Raises OSError."""
    state, waiting = _INFO.unpack(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
    return int(waiting) if state == _LISTENS else None


async def probe_tcp(host: str, port: int, listener: socket.socket) -> str:
    """Return what is wrong with a listener, nothing if its program takes connections. Waits until it does."""
    connected = await _connect(host, port)
    if isinstance(connected, str):
        return connected
    with connected:
        while waiting := queue_of(listener):
            await asyncio.sleep(_LOOK_S)
    return f"port {port}: its program has ended the listener" if waiting is None else ""


async def probe_http(host: str, port: int, path: str) -> str:
    """Return what is wrong with an HTTP server, nothing if it answers GET with a status of 200 to 299."""
    connected = await _connect(host, port)
    if isinstance(connected, str):
        return connected
    name = f"[{host}]" if ":" in host else host
    loop, head = asyncio.get_running_loop(), b""
    with connected, suppress(ConnectionError):
        request = f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nUser-Agent: tlsrt\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(connected, request.encode("ascii"))
        while len(head) < _HEAD_MOST and b"\n" not in head:
            piece = await loop.sock_recv(connected, _HEAD_MOST)
            if not piece:
                break
            head += piece
    status = _STATUS.match(head)
    if status is None:
        return f"port {port} does not answer in HTTP"
    return "" if status[1].startswith(b"2") else f"GET {path} is answered with {int(status[1])}"


async def _connect(host: str, port: int) -> socket.socket | str:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(made, (host, port))
    except OSError as error:
        made.close()
        return f"cannot connect to port {port}: {error.strerror}"
    except BaseException:
        made.close()
        raise
    return made
