"""Parsing of the kernel's route and socket tables (pure): text in, entries out. Lines that do not parse are skipped."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Any

_UP = 0x0001  # RTF_UP, linux/route.h
_REJECT = 0x0200
_TCP_STATES = ("established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close", "close_wait",
               "last_ack", "listen", "closing")  # fmt: skip  # include/net/tcp_states.h, from 1


def _ipv4(word: str) -> str:
    """An address as /proc/net/route prints it: hex of the 32 bits in host byte order."""
    return socket.inet_ntop(socket.AF_INET, int(word, 16).to_bytes(4, sys.byteorder))


def _ipv6(word: str) -> str:
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(word))


def ipv4_routes(text: str) -> Iterator[dict[str, Any]]:
    """Yield the routes in /proc/net/route."""
    for line in text.splitlines()[1:]:
        try:
            name, target, gateway, flags, _, _, metric, mask, *_ = line.split()
            if not int(flags, 16) & _UP:
                continue
            length = int(mask, 16).bit_count()
            via = None if int(gateway, 16) == 0 else _ipv4(gateway)
            destination = f"{_ipv4(target)}/{length}"
            cost = int(metric)
        except (ValueError, OverflowError, OSError):
            continue
        yield {"family": "ipv4", "destination": destination, "gateway": via, "interface": name, "metric": cost}


def ipv6_routes(text: str) -> Iterator[dict[str, Any]]:
    """Yield the routes in /proc/net/ipv6_route, without the kernel's local, reject and multicast entries."""
    for line in text.splitlines():
        try:
            target, length, _, _, gateway, metric, _, _, flags, name = line.split()
            bits = int(flags, 16)
            if not bits & _UP or bits & _REJECT or bits & 0x80000000 or target.startswith("ff"):  # RTF_LOCAL
                continue
            via = None if int(gateway, 16) == 0 else _ipv6(gateway)
            destination = f"{_ipv6(target)}/{int(length, 16)}"
            cost = int(metric, 16)
        except (ValueError, OverflowError, OSError):
            continue
        yield {"family": "ipv6", "destination": destination, "gateway": via, "interface": name, "metric": cost}


def tcp_states(text: str) -> dict[str, int]:
    """Count the sockets in /proc/net/tcp or tcp6 by state."""
    counts: dict[str, int] = {}
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 4:
            continue
        try:
            state = _TCP_STATES[int(words[3], 16) - 1]
        except (ValueError, IndexError):
            continue
        counts[state] = counts.get(state, 0) + 1
    return counts


def counters(text: str) -> dict[str, dict[str, int]]:
    """Return the counters in /proc/net/dev by interface."""
    found: dict[str, dict[str, int]] = {}
    for line in text.splitlines()[2:]:
        name, colon, rest = line.partition(":")
        numbers = rest.split()
        if not colon or len(numbers) < 16 or not all(number.isdecimal() for number in numbers):
            continue
        received, sent = [int(number) for number in numbers[:8]], [int(number) for number in numbers[8:16]]
        found[name.strip()] = {
            "received_bytes": received[0], "received_packets": received[1], "received_errors": received[2],
            "received_dropped": received[3], "sent_bytes": sent[0], "sent_packets": sent[1], "sent_errors": sent[2],
            "sent_dropped": sent[3],
        }  # fmt: skip
    return found
