"""An MQTT 5 broker over TLS that lies: it acknowledges nothing, floods, and sends what was never asked for. asyncio.

It speaks as much of MQTT as it takes to be believed: CONNACK, SUBACK, and PUBACK while `acknowledges` is true.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Self

CONNACK, PUBACK, SUBACK, PINGRESP = 0x20, 0x40, 0x90, 0xD0
CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12


def packet(first: int, body: bytes, length: int | None = None) -> bytes:
    """Return a packet; `length` is what it says of itself, if not the truth."""
    left, encoded = len(body) if length is None else length, bytearray()
    while True:
        left, digit = divmod(left, 128)
        encoded.append(digit | (0x80 if left else 0))
        if not left:
            return bytes((first,)) + bytes(encoded) + body


def publish(
    topic: bytes, payload: bytes, *, qos: int = 0, mid: int = 1, retain: bool = False, dup: bool = False
) -> bytes:
    """Return a PUBLISH."""
    number = mid.to_bytes(2, "big") if qos else b""
    first = 0x30 | dup << 3 | qos << 1 | retain
    return packet(first, len(topic).to_bytes(2, "big") + topic + number + b"\0" + payload)


class LyingBroker:
    """The broker on a port of loopback; `said` are the packets of its clients, as (kind, body)."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.acknowledges = True
        self.reason = b""  # of a PUBACK
        self.at_once = b""  # sent behind each SUBACK, or CONNACK
        self.said: list[tuple[int, bytes]] = []
        self.connections = 0
        self.port = 0
        self._context = context
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def send(self, data: bytes) -> None:
        """Send to all clients."""
        for writer in self._writers:
            writer.write(data)

    async def flood(self, data: bytes, times: int) -> int:
        """Send to all clients until they are gone; return how often that went."""
        for sent in range(times):
            for writer in [*self._writers]:
                try:
                    writer.write(data)
                    await writer.drain()
                except OSError:
                    return sent
            if not self._writers:
                return sent
        return times

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                first = (await reader.readexactly(1))[0]
                length, place = 0, 0
                while True:
                    digit = (await reader.readexactly(1))[0]
                    length |= (digit & 0x7F) << place
                    place += 7
                    if not digit & 0x80:
                        break
                self._answer(first, await reader.readexactly(length), writer)
        self._writers.discard(writer)
        writer.close()

    def _answer(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        kind = first >> 4
        self.said.append((kind, body))
        if kind == CONNECT:
            self._writers.add(writer)
            writer.write(packet(CONNACK, b"\0\0\0"))
            writer.write(self.at_once)
        elif kind == SUBSCRIBE:
            writer.write(packet(SUBACK, body[:2] + b"\0\1"))
        elif kind == PUBLISH and first & 0x06 and self.acknowledges:
            at = 2 + int.from_bytes(body[:2], "big")
            writer.write(packet(PUBACK, body[at : at + 2] + self.reason))
        elif kind == PINGREQ:
            writer.write(packet(PINGRESP, b""))
