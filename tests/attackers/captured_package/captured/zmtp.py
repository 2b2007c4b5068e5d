"""ZMTP over a plain socket, as far as an attacker needs it to say what libzmq never would."""

from __future__ import annotations

import asyncio
import socket

from captured import recorder  # type: ignore[import-not-found]  # as the host's loops import it

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(52, b"\0")  # ZMTP 3.0, RFC 23
READY = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
MORE, LONG = 1, 2  # flags of a message
READY_MAX = 64  # bytes: what may be left of Primary's own READY


async def shake_hands(connection: socket.socket, channel: str) -> None:
    """Connect a plain socket to Primary and begin the protocol of ZeroMQ."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    await loop.sock_connect(connection, f"{channel}/primary.sock")
    await loop.sock_sendall(connection, GREETING + READY)
    answer = b""
    while b"DEALER" not in answer:  # as a peer of libzmq would have to
        answer += (piece := await loop.sock_recv(connection, 4096))
        assert piece, "Primary does not shake hands"


async def ended(connection: socket.socket, heard: int) -> bool:
    """Wait a second at most until Primary answers here or there, or ends the connection; say if it ended."""
    for _ in range(100):
        await asyncio.sleep(0.01)
        try:
            piece = connection.recv(65536)
        except BlockingIOError:
            piece = None
        except ConnectionError:
            return True
        if piece == b"":
            return True
        if len(piece or b"") > READY_MAX or len(recorder.heard) > heard:
            break
    return False
