"""Feeds of one component each: pressure, and the kernel's log through the filter of a grant."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from tlsrt.channels.control.kernel_record import (
    READ_MAX,
    RecordFilter,
    encode_record,
    parse_record_untrusted,
    taken_apart,
)
from tlsrt.channels.control.pressure import PRESSURE_MAX, encode_pressure, parse_pressure_untrusted
from tlsrt.config.host_events import RESOURCES, STALLS
from tlsrt.errors import PeerError
from tlsrt.supervisor.helper.relay import AT_ONCE, Subscriber


class Feed:
    """What the kernel says on one descriptor, told to one component. Owns both descriptors."""

    def __init__(self, source: int, target: int, waits_for: int, pass_on: Callable[[int, Subscriber], None]) -> None:
        self.source = source
        self.target = Subscriber(target)
        self.waits_for = waits_for
        self._pass_on = pass_on

    def serve(self, descriptor: int) -> bool:
        """Pass on what waits; tell whether it goes on. If it is the component's descriptor that wakes, it has ended."""
        if descriptor != self.source:
            return False
        try:
            self._pass_on(self.source, self.target)
        except OSError:
            return False
        return True

    def close(self) -> None:
        os.close(self.source)
        self.target.close()


def pressure_feed(resource: int, stall: int, source: int, target: int) -> Feed:
    """Return the feed of a trigger that the supervisor has set, psi.rst: each wake-up is one event."""

    def pass_on(source: int, target: Subscriber) -> None:
        text = os.pread(source, PRESSURE_MAX, 0)
        try:
            event = parse_pressure_untrusted(text, RESOURCES[resource], STALLS[stall])
        except PeerError:
            target.dropped += 1
        else:
            target.tell(encode_pressure, event)

    return Feed(source, target, select.POLLPRI, pass_on)


def log_feed(level: int, programs: int, prefixes: bytes, source: int, target: int) -> Feed:
    """Return the feed of an open /dev/kmsg, whose place in the log is its own."""
    passes = RecordFilter(level, bool(programs), taken_apart(prefixes)).passes
    following = -1  # the number of the next record, if none is lost

    def pass_on(source: int, target: Subscriber) -> None:
        nonlocal following
        for _ in range(AT_ONCE):
            try:
                record = parse_record_untrusted(os.read(source, READ_MAX))
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # it was written over: the number of the next one says how many
            except PeerError:
                target.dropped += 1
                continue
            target.dropped += max(0, record.sequence - following) if following >= 0 else 0
            following = record.sequence + 1
            if passes(record):
                target.tell(encode_record, record)

    return Feed(source, target, select.POLLIN, pass_on)
