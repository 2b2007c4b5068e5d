"""Figures of the door for the host's metrics. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tlsrt.loops.runtime.process_figures import Line

REASONS_MOST = 48  # words of our own, but for those of OpenSSL
OTHER = "other"


def door_lines(counters: Mapping[str, int], connections: int, unauthenticated: int) -> Iterator[Line]:
    """Return handshakes, and connections by how they ended."""
    ends = {reason: count for reason, count in counters.items() if reason != "handshakes"}
    yield "tlsrt_door_handshakes", [], counters.get("handshakes", 0)
    for reason, count in bounded(ends).items():
        yield "tlsrt_door_ended_connections", [reason], count
    yield "tlsrt_door_connections", [], connections
    yield "tlsrt_door_unauthenticated_connections", [], unauthenticated


def bounded(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the first so many counts, and the rest under one name: a label that was there stays."""
    found = dict([*counts.items()][:REASONS_MOST])
    if rest := sum(counts.values()) - sum(found.values()):
        found[OTHER] = found.get(OTHER, 0) + rest
    return found
