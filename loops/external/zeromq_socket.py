"""A ROUTER socket of libzmq that takes peers by CURVE, and those alone whose public key is listed. asyncio.

libzmq asks a handler (ZAP, ZeroMQ RFC 27) about each key, and without one lets no peer in (ZAP_ENFORCE_DOMAIN). Who a
message is of is what the handler has answered for its connection, and never the routing id: that one a peer may choose,
so only ids that libzmq has made itself are taken, which no peer can have again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zmq
import zmq.asyncio

from tlsrt.loops.external.zeromq_message import FRAME_BYTES

_ZAP, _DOMAIN = "inproc://zeromq.zap.01", b"tlsrt"
_HANDSHAKE_MS = 3_000
_HEARTBEAT_MS, _SILENT_MS = 10_000, 30_000
_QUEUED = 64  # messages of or for one connection
_OWN_ID = 5  # bytes of a routing id of libzmq, which begins with 0

Take = Callable[[str, bytes, list[bytes]], None]  # of a peer, on a route


class NotConnectedError(Exception):
    """A peer is not connected, or takes nothing now."""


class ZeromqSocket:
    """The socket, its context and the handler that knows the keys."""

    def __init__(self, secret_key: bytes, peers: Mapping[bytes, str], networks: Sequence[str], log: logging.Logger,
                 count: Callable[[str], None]) -> None:  # fmt: skip
        """`secret_key` is in Z85, `peers` are names by public key (32 bytes); `networks` empty for all."""
        self._peers, self._log, self._count = peers, log, count
        self._context = zmq.asyncio.Context()
        self._context.set(zmq.BLOCKY, 0)
        self._zap = self._context.socket(zmq.REP)
        self._zap.bind(_ZAP)
        self._socket = made = self._context.socket(zmq.ROUTER)
        made.curve_server, made.curve_secretkey = True, secret_key
        made.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN)
        made.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        made.setsockopt(zmq.ROUTER_MANDATORY, 1)
        made.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES)
        made.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        made.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        made.setsockopt(zmq.HEARTBEAT_TIMEOUT, _SILENT_MS)
        made.setsockopt(zmq.RCVHWM, _QUEUED)
        made.setsockopt(zmq.SNDHWM, _QUEUED)
        made.setsockopt(zmq.LINGER, 0)
        for network in networks:
            made.setsockopt(zmq.TCP_ACCEPT_FILTER, network.encode())

    def listen(self, descriptor: int, host: str, port: int) -> None:
        """Take connections of a socket that listens; libzmq closes it."""
        self._socket.setsockopt(zmq.USE_FD, descriptor)
        self._socket.bind(f"tcp://{host}:{port}")

    def close(self) -> None:
        self._context.destroy(0)

    async def admit(self) -> None:
        """Answer for ever whether a key is listed."""
        while True:
            request: Any = await self._zap.recv_multipart()
            if len(request) < 6:
                raise zmq.ZMQError(zmq.EFSM, "libzmq asks in a form that RFC 27 has not")
            version, id, domain, _, _, mechanism, *credentials = request
            name = ""
            if (version, domain, mechanism, len(credentials)) == (b"1.0", _DOMAIN, b"CURVE", 1):
                name = self._peers.get(credentials[0], "")
            if not name:
                self._count("keys_refused")
            said = (b"200", b"OK", name.encode()) if name else (b"400", b"refused", b"")
            await self._zap.send_multipart([b"1.0", id, *said, b""])

    async def receive(self, take: Take) -> None:
        """Give what peers send to `take`, for ever."""
        while True:
            frames: Any = await self._socket.recv_multipart(copy=False)
            route = frames[0].bytes
            try:
                name = frames[-1].get("User-Id")
            except zmq.ZMQError:
                name = ""
            if not name or len(route) != _OWN_ID or route[:1] != b"\0":
                self._count("routes_refused")  # a routing id of its own: another peer could take it later
                continue
            take(name, route, [frame.bytes for frame in frames[1:]])

    async def send(self, route: bytes, frames: Sequence[bytes]) -> None:
        """Send to one connection. Raises NotConnectedError."""
        try:
            await self._socket.send_multipart([route, *frames], flags=zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise NotConnectedError(
                "it takes nothing" if error.errno == zmq.EAGAIN else "it is not connected"
            ) from None
