"""Events of the kernel as they travel from the helper to components: plugged devices. Pure.

The kernel's own form (netlink(7), NETLINK_KOBJECT_UEVENT) is `ACTION@DEVPATH` and lines `KEY=VALUE`, each ended by a
zero byte. Names in it come from devices, so it is read as untrusted on both ends, and only printable text passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgpack

from tlsrt.channels.frames.structure import StructureError, unpack_untrusted
from tlsrt.errors import PeerError

EVENT_MAX = 8192  # bytes; the kernel's own are below 2 KiB, kobject_uevent.c
PROPERTIES_MAX = 64  # as many as the kernel has room for (UEVENT_NUM_ENVP)
_TEXT_MAX = 2048
_ACTIONS = frozenset({"add", "remove", "change", "move", "online", "offline", "bind", "unbind"})


@dataclass(frozen=True, slots=True)
class Uevent:
    """What has happened to a device of the host: one uevent of the kernel."""

    action: str  # add, remove, change, move, online, offline, bind or unbind
    subsystem: str  # "usb", "tty", "block", ...
    devpath: str  # below /sys
    devname: str = ""  # below /dev, for those that have a file there
    properties: Mapping[str, str] = field(default_factory=dict[str, str])  # all that the kernel says
    dropped: int = 0  # events before this one that were lost, as they came faster than they were taken


def parse_uevent_untrusted(data: bytes) -> Uevent:
    """Return what the kernel says in one message. Raises PeerError for anything else."""
    if not data or len(data) > EVENT_MAX or not data.endswith(b"\0"):
        raise PeerError("bad_uevent")
    head, *lines = data[:-1].split(b"\0")
    action, at, devpath = _text(head).partition("@")
    if not at or action not in _ACTIONS or not devpath.startswith("/") or len(lines) > PROPERTIES_MAX:
        raise PeerError("bad_uevent")
    properties: dict[str, str] = {}
    for line in lines:
        key, equal, value = _text(line).partition("=")
        if not equal or not key or key in properties:
            raise PeerError("bad_uevent")
        properties[key] = value
    devname = properties.get("DEVNAME", "")
    return Uevent(action, properties.get("SUBSYSTEM", ""), devpath, devname, properties)


def encode_uevent(event: Uevent, dropped: int) -> bytes:
    """Return the datagram for a component."""
    packed: bytes = msgpack.packb([event.action, event.devpath, dropped, dict(event.properties)])
    return packed


def decode_uevent_untrusted(data: bytes) -> Uevent:
    """Return what a datagram of the helper says; raises PeerError for anything that the kernel could not have said."""
    if len(data) > EVENT_MAX:
        raise PeerError("bad_uevent")
    try:
        items = unpack_untrusted(data)
    except StructureError as error:
        raise PeerError("bad_uevent") from error
    if not isinstance(items, list) or [type(one) for one in items] != [str, str, int, dict]:
        raise PeerError("bad_uevent")
    action, devpath, dropped, properties = items
    if not all(type(key) is str and type(value) is str for key, value in properties.items()) or dropped < 0:
        raise PeerError("bad_uevent")
    lines = [f"{action}@{devpath}", *(f"{key}={value}" for key, value in properties.items())]
    try:
        again = parse_uevent_untrusted("".join(f"{line}\0" for line in lines).encode("ascii"))
    except UnicodeEncodeError as error:
        raise PeerError("bad_uevent") from error
    return Uevent(again.action, again.subsystem, again.devpath, again.devname, again.properties, dropped)


def _text(data: bytes) -> str:
    if len(data) > _TEXT_MAX or any(byte < 0x20 or byte > 0x7E for byte in data):
        raise PeerError("bad_uevent")
    return data.decode("ascii")
