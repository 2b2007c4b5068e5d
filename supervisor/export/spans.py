"""Spans of all processes: each is read as fast as it may say them, and no faster.

A process that says more finds its socket full, and counts what it loses; here that costs nothing. Who said a span is
known by the socket that it came by.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from dataclasses import dataclass

from tlsrt.channels.control.export import SPAN_BYTES
from tlsrt.channels.control.spans import SPANS_BURST, SPANS_PER_S, decode_span_untrusted
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Buckets
from tlsrt.supervisor.export.otlp import encode_span

AT_ONCE = 128  # packets of one socket, then others have their turn
PAUSE_S = 0.25  # of one that has said too much


@dataclass(slots=True)
class _Reader:
    process: str
    socket: socket.socket
    resume_at: float | None = None  # it is not listened to before


class SpanReaders:
    """The sockets; `take` is handed each span as OTLP has it, and `left_out` how many could not be.

    `clock` is in seconds.
    """

    def __init__(
        self, epoll: select.epoll, clock: Callable[[], float], take: Callable[[bytes], None],
        left_out: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._epoll = epoll
        self._clock = clock
        self._take = take
        self._left_out = left_out
        self._readers: dict[int, _Reader] = {}
        self._buckets = Buckets(SPANS_BURST, SPANS_PER_S)

    @property
    def is_idle(self) -> bool:
        """Tell whether no process says anything any more."""
        return not self._readers

    def __contains__(self, descriptor: int) -> bool:
        return descriptor in self._readers

    def add(self, process: str, descriptor: int) -> None:
        """Read a socket, which is ours from here on, until its other end is closed."""
        found = socket.socket(fileno=descriptor)
        found.setblocking(False)
        self._readers[descriptor] = _Reader(process, found)
        self._epoll.register(descriptor, select.EPOLLIN)

    def close(self) -> None:
        """Read none any more: a process that says spans hears that its socket has no other end."""
        for descriptor in [*self._readers]:
            self._end(descriptor)

    def next_at(self) -> float | None:
        """Return when `look` has something to do; None for never."""
        return min((one.resume_at for one in self._readers.values() if one.resume_at is not None), default=None)

    def look(self) -> None:
        """Listen again to those whose pause is over."""
        now = self._clock()
        for descriptor, reader in self._readers.items():
            if reader.resume_at is not None and reader.resume_at <= now:
                reader.resume_at = None
                self._epoll.register(descriptor, select.EPOLLIN)

    def read_untrusted(self, descriptor: int) -> None:
        """Take what has come on a socket. Cannot fail: what is no span counts as left out."""
        reader = self._readers[descriptor]
        for _ in range(AT_ONCE):
            if not self._buckets.take(reader.process, now := self._clock()):
                reader.resume_at = now + PAUSE_S
                self._epoll.unregister(descriptor)
                return
            try:
                data = reader.socket.recv(SPAN_BYTES + 1)
            except BlockingIOError:
                self._buckets.give_back(reader.process)
                return
            except OSError:
                data = b""
            if not data:
                self._end(descriptor)
                return
            self._said_untrusted(reader.process, data)

    def _end(self, descriptor: int) -> None:
        reader = self._readers.pop(descriptor)
        if reader.resume_at is None:
            self._epoll.unregister(descriptor)
        reader.socket.close()

    def _said_untrusted(self, process: str, data: bytes) -> None:
        try:
            span = decode_span_untrusted(data)
        except PeerError:
            self._left_out(1)
            return
        if span.lost:
            self._left_out(span.lost)
        self._take(encode_span(span, process))
