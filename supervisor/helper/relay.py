"""The relay of uevents: from the kernel's socket to the sockets of components."""

from __future__ import annotations

import socket
from dataclasses import replace

from tlsrt.channels.control.host_event import EVENT_MAX, encode_uevent, parse_uevent_untrusted
from tlsrt.errors import PeerError

AT_ONCE = 64  # events, before a request has its turn
SUBSCRIBERS_MAX = 256


class _Subscriber:
    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)
        self.dropped = 0


class UeventRelay:
    """Parses what the kernel says, and tells it to all; who does not read loses it, and hears how much."""

    def __init__(self) -> None:
        self._kernel: socket.socket | None = None
        self._subscribers: list[_Subscriber] = []

    def listen(self, descriptor: int) -> int:
        """Take the kernel's socket; return its descriptor."""
        self._kernel = socket.socket(fileno=descriptor)
        return descriptor

    def subscribe(self, descriptor: int) -> None:
        """Tell a component from now on."""
        self._subscribers.append(_Subscriber(descriptor))
        if len(self._subscribers) > SUBSCRIBERS_MAX:
            self._subscribers.pop(0).socket.close()  # the oldest ones have mostly ended

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
                one.socket.send(encode_uevent(replace(event, dropped=one.dropped)))
                one.dropped = 0
            except BlockingIOError:
                one.dropped += 1
            except OSError:  # it has ended
                one.socket.close()
                self._subscribers.remove(one)

    def _lose(self) -> None:
        for one in self._subscribers:
            one.dropped += 1
