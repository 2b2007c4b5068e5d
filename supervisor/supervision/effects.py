"""What a change of a setting does to the host: looked up and judged here, carried out by a helper, and undone.

An effect is made for one grant and one value that lies in its ranges. It says what the audit log is told, and asks the
helper that may carry it out.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import Protocol

from tlsrt.channels.control.helper import ElementMessage, RouteMessage
from tlsrt.config.host_settings import SettingConfig
from tlsrt.config.network_settings import FAMILIES, TYPES, RouteConfig, SetConfig, text_of
from tlsrt.supervisor.process.host_paths import Found, find_setting
from tlsrt.supervisor.supervision.helper_process import Done, HelperProcess

_ROUTE, _NETFILTER = 0, 12  # netlink(7)
_GET_INDEX = 0x8933  # SIOCGIFINDEX, netdevice(7)
_LOW = (1 << 64) - 1
NAMED_NUMBER = 0  # the number of a value that is told in words


class Effect(Protocol):
    """One change of the host, ready to be made."""

    place: str  # what is changed, as the audit log has it
    number: int
    words: str  # the value, if it is no number

    def send(self, helper: HelperProcess, done: Done) -> None:
        """Have it made."""
        ...

    def close(self) -> None:
        """Let go of what was looked up."""
        ...


class FileEffect:
    """A number in a file below /sys or /proc/sys."""

    words = ""

    def __init__(self, setting: SettingConfig, number: int) -> None:
        """Look the file up. Raises OSError."""
        self._found: Found = find_setting(setting.path)
        self.place = self._found.path
        self.number = number

    def send(self, helper: HelperProcess, done: Done) -> None:
        helper.write(self._found.descriptor, self.number, done)

    def close(self) -> None:
        os.close(self._found.descriptor)


class RouteEffect:
    """A route, or its removal."""

    number = NAMED_NUMBER

    def __init__(self, route: RouteConfig, number: int, choice: int, *, removes: bool) -> None:
        """Look the device up. Raises OSError."""
        device = route.devices[choice] if route.devices else ""
        index = device_index(device) if device else 0
        via = text_of(route.kind, number)
        self.place = f"route to {route.to}"
        self.words = f"{'removed: ' if removes else ''}via {via}{f' on {device}' if device else ''}"
        to = int(route.to.network_address)
        self._fields = RouteMessage(
            0, int(removes), route.to.version, to >> 64, to & _LOW, route.to.prefixlen, number >> 64, number & _LOW,
            index, route.metric,
        )  # fmt: skip
        self._kernel = network_socket(_ROUTE)

    def send(self, helper: HelperProcess, done: Done) -> None:
        helper.change("route", self._kernel.fileno(), self._fields[1:], done)

    def close(self) -> None:
        self._kernel.close()


class ElementEffect:
    """An element of a set of nftables, or its removal."""

    number = NAMED_NUMBER

    def __init__(self, nft_set: SetConfig, number: int, *, removes: bool) -> None:
        """Make the socket over which it is said. Raises OSError."""
        self.place = f"set {nft_set.set} of table {nft_set.family} {nft_set.table}"
        for_s = f" for {nft_set.timeout_s} s" if nft_set.timeout_s and not removes else ""
        self.words = f"{'removed: ' if removes else ''}{text_of(nft_set.type, number)}{for_s}"
        self._fields = ElementMessage(
            0, int(removes), FAMILIES[nft_set.family], *TYPES[nft_set.type], number >> 64, number & _LOW,
            1000 * nft_set.timeout_s, nft_set.table, nft_set.set,
        )  # fmt: skip
        self._kernel = network_socket(_NETFILTER)

    def send(self, helper: HelperProcess, done: Done) -> None:
        helper.change("element", self._kernel.fileno(), self._fields[1:], done)

    def close(self) -> None:
        self._kernel.close()


def effect_of(setting: SettingConfig, number: int, choice: int, *, removes: bool) -> Effect:
    """Return the effect of a value that lies in the ranges of a grant. Raises OSError if there is no such place."""
    if setting.route is not None:
        return RouteEffect(setting.route, number, choice, removes=removes)
    if setting.nft_set is not None:
        return ElementEffect(setting.nft_set, number, removes=removes)
    return FileEffect(setting, number)


def network_socket(protocol: int) -> socket.socket:
    """Return a socket of the kernel in the host's network namespace, in which its sender acts then."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    made.setblocking(False)
    return made


def device_index(name: str) -> int:
    """Return the index of a network device. Raises OSError, ENODEV if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:  # if_nametoindex() tells no errno on Python 3.11
        answer = fcntl.ioctl(asked, _GET_INDEX, struct.pack("16si20x", name.encode(), 0))
    return int(struct.unpack_from("16si", answer)[1])
