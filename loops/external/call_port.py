"""One UDP socket for all calls, and which call a datagram belongs to: by ICE (RFC 8445), and by nothing else. aioice.

A peer has proved who it is when a check of it carries the name and password of a call; only then is anything sent to
its address, and only from such an address is anything taken. So what an offer says of addresses is not used: it makes
this host send nowhere, and the grant of the socket is `replies`, by which the kernel lets it send to no other host.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from aioice import Candidate, Connection, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol
from aiortc import rtcicetransport

Address = tuple[str, int]

ADDRESSES_MAX = 8  # of one call: a browser has one for each of its interfaces
WAITING_MAX = 256  # datagrams of a call that are not read yet
PER_S = 500  # datagrams of a call; sound is 50
DATAGRAM_MAX = 1500
_COOKIE = b"\x21\x12\xa4\x42"  # RFC 8489, section 5


class CallPort(asyncio.DatagramProtocol):
    """The socket. `addresses` are those by which others reach it; `count` counts what is dropped, by name."""

    def __init__(self, addresses: Sequence[str], number: int, count: Callable[[str], None]) -> None:
        self.addresses, self.number, self.count = addresses, number, count
        self._transport: asyncio.DatagramTransport | None = None
        self._by_name: dict[str, PortConnection] = {}
        self._by_address: dict[Address, PortConnection] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def use(self) -> None:
        """Have connections of aiortc that are made from now on go by this socket: it has no setting for that."""
        setattr(rtcicetransport, "Connection", partial(PortConnection, self))  # noqa: B010

    def add(self, connection: PortConnection) -> None:
        self._by_name[connection.local_username] = connection

    def remove(self, connection: PortConnection) -> None:
        """Take nothing for a connection any more, and send nothing of it."""
        self._by_name.pop(connection.local_username, None)
        for address in connection.proved:
            if self._by_address.get(address) is connection:
                del self._by_address[address]

    def send(self, data: bytes, address: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(data, address)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        address = (addr[0], addr[1])
        if len(data) > DATAGRAM_MAX or not data:
            self.count("strangers")
            return
        if data[0] < 4 and data[4:8] == _COOKIE:
            self._check_untrusted(data, address)
            return
        connection = self._by_address.get(address)
        if connection is None:
            self.count("strangers")
            return
        connection.data_received(data, 1)

    def error_received(self, exc: Exception) -> None:
        self.count("send_errors")

    def _check_untrusted(self, data: bytes, address: Address) -> None:
        """Take a STUN message. One that proves nothing is not answered."""
        try:
            message = stun.parse_message(data)
            connection = self._by_address.get(address)
            if message.message_class == stun.Class.REQUEST:
                connection = self._proving_untrusted(message, address)
        except Exception:  # of bytes of anyone: whatever the parser stumbles over
            connection = None
        if connection is None:
            self.count("strangers")
            return
        connection.stun_received(data, address)

    def _proving_untrusted(self, message: stun.Message, address: Address) -> PortConnection | None:
        name = message.attributes.get("USERNAME", "")
        connection = self._by_name.get(name.partition(":")[0])
        if connection is None or "MESSAGE-INTEGRITY" not in message.attributes or "PRIORITY" not in message.attributes:
            return None
        if not message.check_message_integrity(connection.local_password.encode()):
            return None
        if self._by_address.get(address) is not connection:
            if address in self._by_address or len(connection.proved) >= ADDRESSES_MAX:
                return None
            connection.proved.add(address)
            self._by_address[address] = connection
        return connection


class _Way:
    """What aioice takes for the socket of one connection."""

    def __init__(self, port: CallPort, connection: PortConnection) -> None:
        self._port, self._connection = port, connection

    def sendto(self, data: bytes, address: Address) -> None:
        if address in self._connection.proved and not self._connection.is_cut:
            self._port.send(data, address)

    def close(self) -> None:
        self._port.remove(self._connection)
        self._connection.proved.clear()
        asyncio.get_running_loop().call_soon(self._connection.protocol.connection_lost, None)


class PortConnection(Connection):
    """The ICE of one call, on the socket of all."""

    def __init__(self, port: CallPort, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.proved: set[Address] = set()
        self.is_cut = False
        self._port = port
        self._second, self._in_second = 0, 0
        self.protocol = StunProtocol(self)
        self.protocol.transport = cast(asyncio.DatagramTransport, _Way(port, self))

    async def gather_candidates(self) -> None:
        """Take the addresses of the socket, instead of a socket for each address of this machine."""
        if self._local_candidates_start:
            return
        self._local_candidates_start = True
        for host in self._port.addresses:
            foundation, priority = candidate_foundation("host", "udp", host), candidate_priority(1, "host")
            found = Candidate(foundation, 1, "udp", priority, host, self._port.number, "host")
            self._local_candidates.append(found)
        self.protocol.local_candidate = self._local_candidates[0]
        self._protocols.append(self.protocol)
        self._port.add(self)
        self._local_candidates_end = True

    async def add_remote_candidate(self, remote_candidate: Candidate | None) -> None:
        """Take none: the addresses of a peer are those from which it proves itself."""

    def stun_received(self, data: bytes, address: Address) -> None:
        """Take a message of STUN: a check that proves itself, or an answer from an address that has."""
        if not self._is_flooded():
            self.protocol.datagram_received(data, address)

    def data_received(self, data: bytes, component: int) -> None:
        if self._is_flooded() or self._queue.qsize() >= WAITING_MAX:
            self._port.count("flooded")
            return
        super().data_received(data, component)

    def _is_flooded(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._in_second > PER_S
