"""What fuzz tests share: bytes that are almost right, cut anywhere, and connections in memory.

`brief(n)` is n examples in the suite and as many times more as `make fuzz` says (FUZZ in the environment).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tlsrt.channels.tls.connection import ConnectionLimits, Handler, TlsConnection
from tlsrt.channels.tls.engine import TlsEngine

FACTOR = int(os.environ.get("FUZZ", "1"))
_OPERATIONS = ("set", "insert", "delete", "double", "cut")


def brief(examples: int) -> settings:
    """Return the settings of a property."""
    return settings(
        max_examples=examples * FACTOR, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


def changed(data: bytes, steps: Sequence[tuple[str, int, bytes]]) -> bytes:
    """Return data with some bytes set, inserted, removed or doubled, or without its end."""
    out = bytearray(data)
    for operation, position, new in steps:
        at = position % (len(out) + 1)
        size = max(1, len(new))
        if operation == "set":
            out[at : at + len(new)] = new
        elif operation == "insert":
            out[at:at] = new
        elif operation == "delete":
            del out[at : at + size]
        elif operation == "double":
            out[at:at] = out[at : at + size * 8]
        else:
            del out[at:]
    return bytes(out)


STEPS = st.lists(
    st.tuples(st.sampled_from(_OPERATIONS), st.integers(0, 1 << 16), st.binary(max_size=6)), max_size=4
)  # fmt: skip
CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


def pieces_of(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return data cut at some places."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


def are_records(data: bytes) -> bool:
    """Whether these are whole TLS records of kinds that there are."""
    at = 0
    while at < len(data):
        if len(data) < at + 5 or data[at] not in (20, 21, 22, 23) or data[at + 1] != 3:
            return False
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
    return at == len(data)


class MemoryTransport(asyncio.Transport):
    """A transport whose other end is a list of bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol | None = None
        self.out = bytearray()
        self.is_over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_over
        self.out += data

    def write_eof(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.is_over

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        if not self.is_over:
            self.is_over = True
            assert self.protocol is not None
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class Connected:
    """A server's connection in memory with a client's engine at its other end, after an honest handshake."""

    def __init__(self, server: TlsEngine, client: TlsEngine, choose: Callable[[TlsConnection], Handler]) -> None:
        self.client = client
        self.plain = b""  # what the client has read
        self.reasons: list[str] = []
        self.transport = MemoryTransport()
        self.choose = choose
        self.connection = TlsConnection(server, self, ConnectionLimits())
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)
        for _ in range(3):
            self.give(client.take_outgoing())
            self.take()

    def choose_handler(self) -> Handler:
        return self.choose(self.connection)

    def on_handshake_bytes(self, *, has_hello: bool) -> None:
        pass

    def on_end(self, reason: str) -> None:
        self.reasons.append(reason)

    def on_socket_closed(self) -> None:
        pass

    def give(self, data: bytes) -> None:
        """Give ciphertext to the server."""
        size = len(self.connection.get_buffer(-1))
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            self.connection.get_buffer(-1)[: len(piece)] = piece
            self.connection.buffer_updated(len(piece))

    def take(self) -> bytes:
        """Let the client read what the server has written; returns all that it has read."""
        data, self.transport.out = bytes(self.transport.out), bytearray()
        self.plain += self.client.receive_untrusted(data)
        return self.plain

    def send(self, plain: bytes) -> None:
        """Send plaintext to the server."""
        self.client.write(plain)
        self.give(self.client.take_outgoing())

    async def close(self) -> None:
        """The client goes away."""
        self.transport.abort()
        await asyncio.sleep(0)
