"""Pressure as it travels from the helper to components: tasks that wait for a resource. Pure.

The kernel's own form is a line for each kind of stall, `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`
(Documentation/accounting/psi.rst). Between the helper and a component there are whole numbers only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgpack

from tlsrt.channels.frames.structure import StructureError, unpack_untrusted
from tlsrt.config.host_events import RESOURCES, STALLS
from tlsrt.errors import PeerError

PRESSURE_MAX = 512  # bytes of the kernel's text: two lines
_LINE = re.compile(r"(some|full) avg10=(\d{1,3}\.\d\d) avg60=(\d{1,3}\.\d\d) avg300=(\d{1,3}\.\d\d) total=(\d{1,20})")


@dataclass(frozen=True, slots=True)
class Pressure:
    """Tasks of the host have waited for a resource for longer than a grant says."""

    resource: str  # cpu, memory or io
    stall: str  # some: tasks waited; full: all that could have run did
    avg10: float  # share of the time in which they waited, in per cent: of the last 10 s
    avg60: float
    avg300: float
    total_us: int  # since the host has started
    dropped: int = 0  # events before this one that were lost, as they were not taken


def parse_pressure_untrusted(data: bytes, resource: str, stall: str) -> Pressure:
    """Return what a file of /proc/pressure says of one kind of stall. Raises PeerError for anything else."""
    for line in data[: PRESSURE_MAX + 1].decode("ascii", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is not None and match[1] == stall:
            return Pressure(resource, stall, float(match[2]), float(match[3]), float(match[4]), int(match[5]))
    raise PeerError("bad_pressure")


def encode_pressure(event: Pressure, dropped: int) -> bytes:
    """Return the datagram for a component."""
    shares = [round(100 * one) for one in (event.avg10, event.avg60, event.avg300)]
    head = [RESOURCES.index(event.resource), STALLS.index(event.stall)]
    packed: bytes = msgpack.packb([*head, *shares, event.total_us, dropped])
    return packed


def decode_pressure_untrusted(data: bytes) -> Pressure:
    """Return what a datagram of the helper says; raises PeerError for anything that the kernel could not have said."""
    try:
        items = unpack_untrusted(data[: PRESSURE_MAX + 1])
    except StructureError as error:
        raise PeerError("bad_pressure") from error
    if not isinstance(items, list) or [type(one) for one in items] != [int] * 7 or min(items) < 0:
        raise PeerError("bad_pressure")
    resource, stall, *shares, total, dropped = items
    if resource >= len(RESOURCES) or stall >= len(STALLS) or max(shares) > 99_999:
        raise PeerError("bad_pressure")
    first, second, third = (one / 100 for one in shares)
    return Pressure(RESOURCES[resource], STALLS[stall], first, second, third, total, dropped)
