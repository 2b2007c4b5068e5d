"""What a broker may send, checked on the first bytes of each MQTT packet, before anything of it is kept. Sans-IO.

paho-mqtt keeps a packet until it is whole, of up to 256 MiB, and messages of QoS 2 until they are released. The size
that a client asks for in MQTT 5 binds an honest broker alone, so it is checked here: what is too large, and what was
never asked for (QoS 2), ends the connection. Figures in MQTT 5, sections 1.5.5 and 2.1.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

PACKET_BYTES = 128 * 1024  # a message of external/messages has 64 KiB, and topic and properties come with it
_PUBLISH, _QOS, _TWO = 0x30, 0x06, 0x04
_LENGTH_BYTES = 4


class PacketError(OSError):
    """The broker sends what it may not: the connection is to be ended."""


class PacketGuard:
    """Follows the packets of one connection. After an error it is of no use."""

    def __init__(self, most: int = PACKET_BYTES) -> None:
        self._most = most
        self._left = 0  # bytes of the packet's body that are to come
        self._length: list[int] | None = None  # bytes of the length, once the first byte was there

    def feed(self, data: bytes) -> None:
        """Take the next bytes, in any pieces. Raises PacketError."""
        at = 0
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
            elif self._length is None:
                if data[at] & 0xF0 == _PUBLISH and data[at] & _QOS == _TWO:
                    raise PacketError("it sends messages of QoS 2, which nothing here has asked for")
                self._length = []
                at += 1
            else:
                self._length.append(data[at])
                at += 1
                if not self._length[-1] & 0x80:
                    self._left = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(self._length))
                    self._length = None
                    if self._left > self._most:
                        raise PacketError(f"it sends a packet of {self._left} bytes, and {self._most} are the most")
                elif len(self._length) == _LENGTH_BYTES:
                    raise PacketError("it sends a packet whose length has no end")


class GuardedSocket(ssl.SSLSocket):
    """A TLS socket that reads no packet which it may not; `refusal` says why it has refused one."""

    refusal: str | None = None
    report: Callable[[str], None] | None = None  # hears why the other side ended TLS

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return bytes of good packets. Raises PacketError, and as SSLSocket does."""
        try:
            data = super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            if self.report is not None:
                self.report(str(error.reason or error).replace("_", " ").lower())
            raise
        if (guard := self.__dict__.get("guard")) is None:
            guard = self.__dict__["guard"] = PacketGuard()
        try:
            guard.feed(data)
        except PacketError as error:
            self.refusal = str(error)
            raise
        return data


def guard_sockets(context: ssl.SSLContext, report: Callable[[str], None] | None = None) -> None:
    """Have all sockets that the context makes be guarded; `report` hears why the other side ended TLS."""
    reported = {} if report is None else {"report": staticmethod(report)}
    kind: Any = type("ReportingSocket", (GuardedSocket,), reported)
    context.sslsocket_class = kind
