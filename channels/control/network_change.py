"""Changes of the host's network as they travel from the helper to components. Pure.

The kernel's own form is rtnetlink(7), which the helper reads (supervisor/helper/network_changes.py). Names of
interfaces are chosen by who makes them, so they are read as untrusted on both ends, and only printable text passes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack

from tlsrt.channels.frames.structure import StructureError, unpack_untrusted
from tlsrt.errors import PeerError

CHANGE_MAX = 1024  # bytes of a datagram
NAME_MAX = 60  # an interface has at most 15 bytes (IFNAMSIZ), each perhaps told as \xHH
WHATS = ("resynchronise", "link", "address", "route")
STATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")  # RFC 2863, IF_OPER_*
_HARDWARE_MAX = 32 * 3  # MAX_ADDR_LEN, as aa:bb:...
_U32 = 1 << 32
_TYPES = [int, bool, str, int, str, str, int, bool, bool, int, int, int]


@dataclass(frozen=True, slots=True)
class NetworkChange:
    """A link, address or route of the host that is new, changed or removed; or the advice to read all of them anew."""

    what: str  # link, address, route; resynchronise: changes were lost, so what is known of all three is old
    removed: bool = False
    interface: str = ""  # "" for a route that has none or several
    index: int = 0  # of the interface
    address: str = ""  # link: its hardware's; address: with the prefix, "10.0.0.1/24"; route: where to, "0.0.0.0/0"
    gateway: str = ""  # of a route, "" for none
    metric: int = 0  # of a route
    up: bool = False  # of a link: an operator has set it up
    carrier: bool = False  # of a link: something is at the other end
    mtu_bytes: int = 0  # of a link
    state: str = "unknown"  # of a link: one of `STATES`
    dropped: int = 0  # changes before this one that were lost, as they were not taken; above 0 all is to be read anew

    @property
    def is_gap(self) -> bool:
        """Tell whether changes before this one were lost: then read links, addresses and routes anew."""
        return self.what == WHATS[0] or self.dropped > 0


RESYNCHRONISE = NetworkChange(WHATS[0])


def encode_change(change: NetworkChange, dropped: int) -> bytes:
    """Return the datagram for a component."""
    packed: bytes = msgpack.packb(
        [
            WHATS.index(change.what), change.removed, change.interface, change.index, change.address, change.gateway,
            change.metric, change.up, change.carrier, change.mtu_bytes, STATES.index(change.state), dropped,
        ]
    )  # fmt: skip
    return packed


def decode_change_untrusted(data: bytes) -> NetworkChange:
    """Return what a datagram of the helper says; raises PeerError for anything that the kernel could not have said."""
    if len(data) > CHANGE_MAX:
        raise PeerError("bad_network_change")
    try:
        items = unpack_untrusted(data)
    except StructureError as error:
        raise PeerError("bad_network_change") from error
    if not isinstance(items, list) or [type(one) for one in items] != _TYPES:
        raise PeerError("bad_network_change")
    what, removed, interface, index, address, gateway, metric, up, carrier, mtu, state, dropped = items
    if not all(0 <= one < _U32 for one in (index, metric, mtu, dropped)) or not 0 <= what < len(WHATS):
        raise PeerError("bad_network_change")
    if not 0 <= state < len(STATES) or len(interface) > NAME_MAX or not _is_printable(interface):
        raise PeerError("bad_network_change")
    _check_address(WHATS[what], address)
    if gateway:
        _check_ip(gateway)
    return NetworkChange(
        WHATS[what], removed, interface, index, address, gateway, metric, up, carrier, mtu, STATES[state], dropped
    )


def joined(interfaces: Sequence[str]) -> bytes:
    """Return the interfaces of a grant as one field of a message; none of them has a zero byte."""
    return b"\0".join(one.encode("ascii") for one in interfaces)


def passes(interfaces: bytes, interface: str) -> bool:
    """Tell whether a grant, as such a field, has an interface: by its whole name, or by its beginning with `*`."""
    return any(
        interface.startswith(one[:-1]) if one.endswith("*") else interface == one
        for one in interfaces.decode("ascii").split("\0")
    )


def _is_printable(text: str) -> bool:
    return all(" " <= sign <= "~" for sign in text)


def _check_address(what: str, address: str) -> None:
    if what in ("address", "route"):
        _check_ip(address.partition("/")[0], address)
    elif len(address) > _HARDWARE_MAX or any(sign not in "0123456789abcdef:" for sign in address):
        raise PeerError("bad_network_change")


def _check_ip(address: str, network: str = "") -> None:
    try:
        ipaddress.ip_address(address)
        if network:
            ipaddress.ip_interface(network)
    except ValueError as error:
        raise PeerError("bad_network_change") from error
    if "%" in address:
        raise PeerError("bad_network_change")
