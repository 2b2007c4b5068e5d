"""A component that announces and finds services by zeroconf as it is, and tries to reach more by its sockets."""

from __future__ import annotations

import _socket
import errno
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_interface
from typing import Any

from zeroconf import IPVersion, ServiceInfo
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from tlsrt import Component, handler

KIND = "_tlsrt._tcp.local."
OTHER_GROUP = ("224.0.0.252", "ff02::1:3")  # LLMNR


class Discovery(Component):
    """Serves `kettle`, on all interfaces that it is granted, by IPv4 and IPv6."""

    async def start(self) -> None:
        self.zeroconf = AsyncZeroconf(ip_version=IPVersion.All)
        addresses = [ip_interface(text).ip.packed for text in self.listener_interface("mdns").addresses]
        info = ServiceInfo(KIND, f"kettle.{KIND}", addresses=addresses, port=7443, server="kettle.local.")
        await self.zeroconf.async_register_service(info, cooperating_responders=True)  # without the wait for others

    async def stop(self) -> None:
        await self.zeroconf.async_close()

    @handler
    async def interface(self, name: str) -> list[str]:
        """Return the interface of a listener: its name and addresses."""
        found = self.listener_interface(name)
        return [found.name, *found.addresses]

    @handler
    async def find(self, name: str) -> list[str]:
        """Return the addresses of another service."""
        found = AsyncServiceInfo(KIND, f"{name}.{KIND}")
        is_there = await found.async_request(self.zeroconf.zeroconf, 8000)
        return found.parsed_addresses() if is_there else []

    @handler
    async def send(self, name: str, host: str, port: int, scope: int = 0) -> str:
        """Send a datagram from a listener to an address of its choice."""
        where: Any = (host, port, 0, scope) if ":" in host else (host, port)
        return _named(lambda: _of(self.listener(name)).sendto(b"captured", where))

    @handler
    async def choose(self, index: int, own: str) -> dict[str, str]:
        """Try to choose another interface, time to live and group, past what stands in for Python's sockets."""
        four, six = _of(self.listener("mdns")), _of(self.listener("mdns6"))
        groups = socket.inet_aton(OTHER_GROUP[0]), socket.inet_pton(socket.AF_INET6, OTHER_GROUP[1])
        member = socket.inet_aton(own), struct.pack("@I", index)
        tried: dict[str, Callable[[], object]] = {
            "joins": lambda: four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, groups[0] + member[0]),
            "joins six": lambda: six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, groups[1] + member[1]),
            "device": lambda: four.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo"),
            "interface": lambda: four.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, member[0]),
            "interface six": lambda: six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index),
        }
        return {name: _named(call) for name, call in tried.items()}


def _of(own: socket.socket) -> _socket.socket:
    """Return the same socket without what stands in for its methods; it closes nothing."""
    plain = _socket.socket(own.family, own.type, own.proto, own.fileno())
    _kept.append(plain)
    return plain


_kept: list[_socket.socket] = []


def _named(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"
