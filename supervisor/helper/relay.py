"""The relay of uevents: from the kernel's socket to the sockets of components."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

from tlsrt.channels.control.host_event import EVENT_MAX, encode_uevent, parse_uevent_untrusted
from tlsrt.errors import PeerError

AT_ONCE = 64  # events, before a request has its turn
SUBSCRIBERS_MAX = 256
Event = TypeVar("Event")


class Subscriber:
    """A component that hears events. It is never waited for: what it does not take is lost, and it hears how much."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self.dropped = 0
        self.fileno = self._socket.fileno
        self.close = self._socket.close

    def tell(self, encode: Callable[[Event, int], bytes], event: Event) -> None:
        """Tell it an event, with how many were lost before. Raises OSError if it has ended."""
        try:
            self._socket.send(encode(event, self.dropped))
            self.dropped = 0
        except BlockingIOError:
            self.dropped += 1


class UeventRelay:
    """Parses what the kernel says, and tells it to all."""

    def __init__(self) -> None:
        self._kernel: socket.socket | None = None
        self._subscribers: list[Subscriber] = []

    def listen(self, descriptor: int) -> int:
        """Take the kernel's socket; return its descriptor."""
        self._kernel = socket.socket(fileno=descriptor)
        return descriptor

    def subscribe(self, descriptor: int) -> None:
        """Tell a component from now on."""
        self._subscribers.append(Subscriber(descriptor))
        if len(self._subscribers) > SUBSCRIBERS_MAX:
            self._subscribers.pop(0).close()  # the oldest ones have mostly ended

    def relay(self) -> None:
        """Pass on what waits."""
        for _ in range(AT_ONCE if self._kernel is not None else 0):
            try:
                data, sender = self._kernel.recvfrom(EVENT_MAX + 1)  # type: ignore[union-attr]
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: the kernel had no room, and some are lost
                self._lose()
                continue
            if sender[0] != 0:
                continue  # a process said it, and not the kernel
            self._tell(data)

    def _tell(self, data: bytes) -> None:
        try:
            event = parse_uevent_untrusted(data)
        except PeerError:
            self._lose()
            return
        for one in [*self._subscribers]:
            try:
                one.tell(encode_uevent, event)
            except OSError:  # it has ended
                one.close()
                self._subscribers.remove(one)

    def _lose(self) -> None:
        for one in self._subscribers:
            one.dropped += 1
