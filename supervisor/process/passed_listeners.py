"""Listening sockets that the service manager hands over: those of a socket unit, and our own of the life before.

A socket unit's is named `door`. Where there is none, the manager keeps ours in its store, as `door.kept`, and hands it
to the next life: either way connections wait in the kernel meanwhile, and none is refused. sd_listen_fds(3), and
FDSTORE in sd_notify(3).
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Protocol

from tlsrt.config.deception import EndpointConfig
from tlsrt.config.door import DoorConfig
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process.listeners import DECOY, DOOR, decoy_listener, door_listener, shrink_buffers
from tlsrt.supervisor.process.service_manager import notice

_KEPT = ".kept"


class Ears(Protocol):
    """Who is told what to keep."""

    def say(self, message: bytes, descriptors: Sequence[int] = ()) -> None: ...


class PassedListeners:
    """Takes what was handed over, or makes it; what is not wanted is closed."""

    def __init__(self, manager: Ears, passed: Sequence[tuple[str, int]] = ()) -> None:
        self._manager = manager
        self._passed = list(passed)
        self._to_keep: dict[str, int] = {}
        for _, descriptor in passed:
            os.set_inheritable(descriptor, False)

    def door(self, door: DoorConfig) -> int:
        """Return the door's listening descriptor. Raises ConfigError."""
        return self._take(DOOR, door.host, door.port, lambda: door_listener(door))

    def decoy(self, endpoint: EndpointConfig) -> int:
        """Return that of the decoy endpoint. Raises ConfigError."""
        taken = self._take(DECOY, endpoint.host, endpoint.port, lambda: decoy_listener(endpoint))
        shrink_buffers(taken)
        return taken

    def settle(self) -> None:
        """Close what was not wanted, and have what is ours kept for the next life."""
        for name, descriptor in self._passed:
            os.close(descriptor)
            if name.endswith(_KEPT):
                self._manager.say(notice("FDSTOREREMOVE=1", FDNAME=name))
        self._passed.clear()
        for name, descriptor in self._to_keep.items():
            self._manager.say(notice("FDSTORE=1", "FDPOLL=0", FDNAME=name), [descriptor])

    def _take(self, name: str, host: str, port: int, make: Callable[[], int]) -> int:
        for one in [one for one in self._passed if one[0] == name]:
            place = _place(one[1])
            if not _is_at(place, host, port):
                raise ConfigError(_other_place(name, place, host, port))
            self._passed.remove(one)
            os.set_blocking(one[1], False)
            return one[1]
        kept = f"{name}{_KEPT}"
        for one in [one for one in self._passed if one[0] == kept and _is_at(_place(one[1]), host, port)]:
            self._passed.remove(one)
            self._to_keep[kept] = one[1]
            return one[1]
        for one in [one for one in self._passed if one[0] == kept]:  # of another address
            self._passed.remove(one)
            os.close(one[1])
            self._manager.say(notice("FDSTOREREMOVE=1", FDNAME=kept))
        self._to_keep[kept] = made = make()
        return made


def _place(descriptor: int) -> tuple[str, int] | None:
    """Return where a socket listens; None for what is not one as we make them ourselves."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return None
    with socket.socket(fileno=os.dup(descriptor)) as one:
        is_tcp = one.family in (socket.AF_INET, socket.AF_INET6) and one.proto == socket.IPPROTO_TCP
        if not is_tcp or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        if one.family == socket.AF_INET6 and not one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            return None
        host, port = one.getsockname()[:2]
        return str(ip_address(host.partition("%")[0])), port


def _is_at(place: tuple[str, int] | None, host: str, port: int) -> bool:
    try:
        return place is not None and (ip_address(place[0]), place[1]) == (ip_address(host), port)
    except ValueError:  # a name: our own listener takes none either
        return False


def _other_place(name: str, place: tuple[str, int] | None, host: str, port: int) -> str:
    wanted = f"{name}.host and {name}.port are {host} and {port}"
    if place is None:
        return (
            f"the service manager hands over as {name} what is no listening TCP socket, or one of IPv6 that takes IPv4 "
            f"too, and {wanted}: mend its unit (ListenStream=, BindIPv6Only=ipv6-only)"
        )
    return (
        f"the service manager hands over {name} on {place[0]} port {place[1]}, and {wanted}: run `tlsrt-supervisor "
        "install` again, or change ListenStream= of the socket unit"
    )
