"""What chronyd says of the clock, over its command protocol: one datagram, one answer, no program and no right.

chronyd answers questions that change nothing to every program of its machine, at port 323 of the loopback (as
`tracking` of chronyc(1)); what can change something it takes over a socket of root's alone. Protocol version 6, since
chrony 2.2.
"""

from __future__ import annotations

import asyncio
import errno
import math
import secrets
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from tlsrt.loops.secondary.time_sources import STRATUM_MOST

ANSWER_S = 1.0
TRIES = 2
_REQUEST = struct.Struct(">BBxxHHIxxxxxxxx")  # version, type, command, attempt, sequence
_HEAD = struct.Struct(">BBxxHHHxxxxxxIxxxxxxxx")  # version, type, command, reply, status, sequence
_TRACKING = struct.Struct(">I16sHxxHHIII9I")  # reference, address, family, stratum, leap, time, nine numbers
_VERSION, _ASKS, _ANSWERS, _COMMAND, _REPLY = 6, 1, 2, 33, 5
_BYTES = _HEAD.size + _TRACKING.size  # an answer is never longer than its question
_UNSYNCHRONISED = 3
_IPV4, _IPV6 = 1, 2
_COEFFICIENT_BITS = 25
_NO_HIGH = 0x7FFFFFFF
_WALL_MOST_S = 1 << 33
_REFUSED = "it does not run, or has no command port"


class NoAnswer(Exception):
    """chronyd has not answered; the sentence says why."""


def question(sequence: int, attempt: int = 0) -> bytes:
    """Return the datagram that asks for the state of the clock."""
    return _REQUEST.pack(_VERSION, _ASKS, _COMMAND, attempt, sequence).ljust(_BYTES, b"\0")


def tracking_untrusted(data: bytes, sequence: int) -> dict[str, Any]:
    """Return what an answer says, None for what it does not. Raises NoAnswer for what is no answer to that question."""
    if len(data) < _BYTES:
        raise NoAnswer("its answer is too short")
    version, kind, command, reply, status, answered = _HEAD.unpack_from(data)
    if (version, kind, command, answered) != (_VERSION, _ANSWERS, _COMMAND, sequence):
        raise NoAnswer("its answer is to no question of ours")
    if status or reply != _REPLY:
        raise NoAnswer(f"it refuses the question with status {status}")
    reference, address, family, stratum, leap, high, low, nanos, *numbers = _TRACKING.unpack_from(data, _HEAD.size)
    correction, _, rms, frequency, _, _, delay, dispersion, interval = map(number, numbers)
    seconds = low + ((high << 32) if high != _NO_HIGH else 0)
    is_good = leap != _UNSYNCHRONISED and 0 < stratum <= STRATUM_MOST
    found: dict[str, Any] = {
        "server": _server(reference, address, family), "stratum": stratum, "offset_ms": correction * 1e3,
        "uncertainty_ms": (delay / 2 + dispersion) * 1e3, "drift_ppm": -frequency, "jitter_ms": rms * 1e3,
        "poll_s": interval or None, "round_trip_ms": None,
        "last_sync_wall_ms": seconds * 1000 + nanos // 1_000_000 if 0 < seconds < _WALL_MOST_S else None,
    }  # fmt: skip
    return {"is_synchronised": is_good, **(found if is_good else dict.fromkeys(found))}


def number(bits: int) -> float:
    """Return a number of the protocol: an exponent of 7 bits and a coefficient of 25, both signed."""
    exponent, coefficient = bits >> _COEFFICIENT_BITS, bits & ((1 << _COEFFICIENT_BITS) - 1)
    exponent -= 128 if exponent >= 64 else 0
    coefficient -= (1 << _COEFFICIENT_BITS) if coefficient >= 1 << (_COEFFICIENT_BITS - 1) else 0
    return math.ldexp(coefficient, exponent - _COEFFICIENT_BITS)


def _server(reference: int, address: bytes, family: int) -> str | None:
    """Return an address, or the name of a clock that is connected, such as PPS."""
    if family == _IPV4:
        return str(IPv4Address(address[:4]))
    if family == _IPV6:
        return str(IPv6Address(address))
    name = reference.to_bytes(4, "big").rstrip(b"\0").decode("latin-1")
    return name if name and name.isascii() and name.isalnum() else None


async def ask(host: str, port: int) -> dict[str, Any]:
    """Return what chronyd at an address says. Raises NoAnswer."""
    loop, sequence = asyncio.get_running_loop(), secrets.randbits(32)
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.setblocking(False)
            wire.connect((host, port))
            for attempt in range(TRIES):
                try:
                    async with asyncio.timeout(ANSWER_S):
                        wire.send(question(sequence, attempt))
                        return tracking_untrusted(await loop.sock_recv(wire, 2 * _BYTES), sequence)
                except TimeoutError:
                    continue
    except OSError as error:
        raise NoAnswer(_REFUSED if error.errno == errno.ECONNREFUSED else str(error.strerror)) from None
    raise NoAnswer(f"it does not answer in {TRIES * ANSWER_S:g} s")
