"""The helper's protocol: supervisor <-> helper. Integers and descriptors, and how a grant filters the kernel's log.

The supervisor looks paths up and sends what they lead to as descriptors that can do nothing yet (O_PATH, open(2)); the
helper opens them anew and does what the message says. Each request has a number, and one answer.
"""

from __future__ import annotations

from typing import NamedTuple

from tlsrt.channels.control.seqpacket import Message, MessageTable, NoFields

HELPER_CAP = 1024  # the prefixes of a grant, 8 of 64 bytes, are the longest


class WriteMessage(NamedTuple):
    """Write a number to the setting behind the descriptor; `done` answers."""

    number: int
    value: int


class OpenMessage(NamedTuple):
    """Open the device behind the descriptor, and set its line; `opened` or `done` answers."""

    number: int
    writes: int  # 1: for writing too
    grabs: int  # 1: no other program hears this input device as long as it is open
    is_tty: int  # 1: the rest holds
    baud: int
    raw: int
    bits: int
    parity: int  # 0 none, 1 odd, 2 even
    stop_bits: int
    flow: int  # 0 none, 1 RTS/CTS, 2 XON/XOFF


class PressureMessage(NamedTuple):
    """Tell a component when the kernel says so on the first descriptor, on the second one."""

    resource: int  # an index of RESOURCES in pressure.py
    stall: int  # of STALLS


class KernelLogMessage(NamedTuple):
    """Tell a component what can be read from the first descriptor and passes the filter, on the second one."""

    level: int
    programs: int
    prefixes: bytes  # see kernel_record.py


class NetworkMessage(NamedTuple):
    """Tell a component what the kernel says on the first descriptor of these interfaces, on the second one."""

    interfaces: bytes  # see network_change.py


class RouteMessage(NamedTuple):
    """Make or remove a route, over the socket of the kernel in the descriptor; addresses are halves of 64 bits."""

    number: int
    removes: int
    version: int  # of IP
    to_high: int
    to_low: int
    prefix: int
    via_high: int
    via_low: int
    device: int  # its index, or 0
    metric: int


class ElementMessage(NamedTuple):
    """Put an element into a set of nftables, or take it out, over the socket of the kernel in the descriptor."""

    number: int
    removes: int
    family: int
    type: int
    size: int  # bytes of the element
    high: int
    low: int
    timeout_ms: int  # 0: it stays
    table: str
    set: str


class DoneMessage(NamedTuple):
    """The end of a request without a device: 0, or an errno."""

    number: int
    error: int


class OpenedMessage(NamedTuple):
    """The device of a request, in its descriptor."""

    number: int


_SUPERVISOR = frozenset({"supervisor"})
_HELPER = frozenset({"helper", "network_helper"})
_ANY = frozenset({"new", "sealed"})
_SEALED = frozenset({"sealed"})

HELPER = MessageTable(
    "helper",
    HELPER_CAP,
    (
        # number, name, who may send it, in which states of the helper, its fields
        Message(1, "write", _SUPERVISOR, _SEALED, WriteMessage, descriptors=1),
        Message(2, "open", _SUPERVISOR, _SEALED, OpenMessage, descriptors=1),
        Message(3, "listen", _SUPERVISOR, _SEALED, NoFields, descriptors=1),  # to the kernel, on this netlink socket
        Message(4, "subscribe", _SUPERVISOR, _SEALED, NoFields, descriptors=1),  # a component, on this socket
        Message(5, "pressure", _SUPERVISOR, _SEALED, PressureMessage, descriptors=2),
        Message(6, "kernel_log", _SUPERVISOR, _SEALED, KernelLogMessage, descriptors=2),
        Message(7, "route", _SUPERVISOR, _SEALED, RouteMessage, descriptors=1),
        Message(8, "element", _SUPERVISOR, _SEALED, ElementMessage, descriptors=1),
        Message(9, "close", _SUPERVISOR, _SEALED, NoFields, descriptors=1),  # whose last close may wait for a driver
        Message(10, "network", _SUPERVISOR, _SEALED, NetworkMessage, descriptors=2),
        Message(16, "sealed", _HELPER, frozenset({"new"}), NoFields),
        Message(17, "done", _HELPER, _SEALED, DoneMessage),
        Message(18, "opened", _HELPER, _SEALED, OpenedMessage, descriptors=1),
    ),
)
