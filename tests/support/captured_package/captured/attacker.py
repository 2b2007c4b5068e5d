"""The attacker: a component that does with its process what code injected into it could do.

It listens to the tests (through the host's own door, policy and gate: it needs no other way), hands out everything
that its process holds, and puts any bytes on the wires that its process can reach.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import zmq
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from captured import recorder  # type: ignore[import-not-found]  # as the host's loops import it
from tlsrt import Component, handler
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frame import Kind, nonce, parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.link import Link
from tlsrt.loops.process import LoopProcess

recorder.install()


class Captured(Component):
    """One captured process."""

    async def start(self) -> None:
        self.process: Any = next(thing for thing in gc.get_objects() if isinstance(thing, LoopProcess))
        self.links: list[Link] = []
        self.sockets: list[socket.socket] = []

    # -- what it holds -----------------------------------------------------------------------------------------

    @handler
    async def loot(self) -> dict[str, Any]:
        """Every key and token of the process."""
        return {
            "sessions": recorder.sessions,
            "rights": recorder.rights,
            "token_keys": {str(epoch): key for epoch, key in recorder.token_keys.items()},
            "gate_roots": {str(epoch): key for epoch, key in recorder.gate_roots.items()},
            "host": recorder.host,
            "aes_keys": list(recorder.aes_keys),
            "now": boottime_ms(),
            "epoch": self.process.trustee.committed,
        }

    @handler
    async def frames(self) -> dict[str, list[bytes]]:
        """The frames that came and went since the last time, the large ones left out."""
        small = ([frame for frame in record if len(frame) < 4096][-32:] for record in (recorder.heard, recorder.said))
        result = dict(zip(("heard", "said"), small, strict=True))
        recorder.heard.clear()
        recorder.said.clear()
        return result

    @handler
    async def carried(self) -> list[list[Any]]:
        """In Primary: the frames that passed since the last time: loop, connection, bytes."""
        result = [list(entry) for entry in recorder.carried if len(entry[2]) < 4096][-64:]
        recorder.carried.clear()
        return result

    @handler
    async def take_seq(self, subject: str) -> int:
        """The next sequence number of a session of this process, which nobody else will use."""
        endpoint = self.process.hosts[subject].endpoint
        endpoint._seq += 1
        return int(endpoint._seq)

    @handler
    async def seal(self, subject: str, target: str, method: str, body: bytes) -> bytes:
        """A genuine request of a component of this process, not sent."""
        endpoint = self.process.hosts[subject].endpoint
        frame: bytes = endpoint.seal_request(Kind.REQUEST, target, method, body, boottime_ms() + 30_000)[1]
        return frame

    # -- what it sends -----------------------------------------------------------------------------------------

    @handler
    async def transmit(self, messages: list[bytes]) -> None:
        """Put raw ZeroMQ messages on this loop's wire to Primary."""
        for message in messages:
            await self._put(message, 0)

    @handler
    async def transmit_parts(self, parts: list[bytes]) -> None:
        """Put one ZeroMQ message of several parts there."""
        for part in parts[:-1]:
            await self._put(part, zmq.SNDMORE)
        await self._put(parts[-1], 0)

    @handler
    async def transmit_many_parts(self, part: bytes, count: int) -> None:
        """Put one ZeroMQ message of equal parts there."""
        for _ in range(count - 1):
            await self._put(part, zmq.SNDMORE)
        await self._put(part, 0)

    @handler
    async def flood(self, message: bytes, count: int) -> None:
        """Put the same message there many times, as fast as Primary takes them."""
        for _ in range(count):
            await self._put(message, 0)

    async def _put(self, message: bytes, flags: int) -> None:
        while True:
            try:
                self.process.channel._link._socket.send(message, flags | zmq.NOBLOCK)
                return
            except zmq.Again:
                await asyncio.sleep(0)

    @handler
    async def connect_again(self) -> int:
        """Open one more ZeroMQ connection to Primary; returns its number. What arrives there is taken as usual."""
        link = Link(self.process.context, self.process.on_frame, self.process.note_refused)
        link.connect(self.process.confinement.path("/channel"))
        self.links.append(link)
        return len(self.links) - 1

    @handler
    async def transmit_on(self, number: int, message: bytes) -> None:
        """Put a raw message on one of these connections."""
        self.links[number]._socket.send(message)

    @handler
    async def transmit_filler(self, size: int, number: int = -1) -> None:
        """Put a message of so many bytes on the loop's wire, or on one of these connections; it starts as frames do."""
        link = self.process.channel._link if number < 0 else self.links[number]
        link._socket.send(b"\x94" + bytes(size - 1))

    @handler
    async def disconnect(self) -> None:
        """Close all connections made here."""
        for link in self.links:
            link.close()
        for connection in self.sockets:
            connection.close()
        self.links.clear()
        self.sockets.clear()

    @handler
    async def connect_raw(self, count: int, patience_s: float = 1.0) -> int:
        """Open plain sockets to Primary's listener and say nothing; returns how many there are now."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        path = f"{self.process.confinement.path('/channel')}/primary.sock"
        for _ in range(count):
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            while connection.connect_ex(path):
                if loop.time() > end:
                    connection.close()
                    return len(self.sockets)
                await asyncio.sleep(0.001)
            self.sockets.append(connection)
        return len(self.sockets)

    @handler
    async def send_raw(self, data: bytes, times: int) -> int:
        """Write bytes to the last plain socket again and again; returns how many were taken within 5 s of patience."""
        connection = self.sockets[-1]
        loop = asyncio.get_running_loop()
        taken = 0
        try:
            for _ in range(times):
                async with asyncio.timeout(5):
                    await loop.sock_sendall(connection, data)
                taken += len(data)
        except (OSError, TimeoutError):
            pass
        return taken

    # -- what only Primary's attacker can do -------------------------------------------------------------------

    @handler
    async def deliver(self, loop: str, frames: list[bytes]) -> None:
        """Put frames on another loop's wire, past the gate."""
        for frame in frames:
            self.process._links[loop].send(frame)

    @handler
    async def deliver_to_clients(self, frames: list[bytes]) -> None:
        """Send frames to every client, past the gate."""
        for connection in list(self.process._connections):
            for frame in frames:
                self.process.door.send_frame(connection, frame)

    @handler
    async def grant(self, number: int, ciphertext: bytes, signature: bytes) -> None:
        """Send a grant of our own making to every client."""
        for connection in list(self.process._connections):
            self.process.door.granted(connection, number, ciphertext, signature)

    @handler
    async def try_keys(self, frame: bytes) -> int:
        """How many of the AES keys of this process open the body of a frame."""
        parts = parse_frame_untrusted(frame)
        header = parse_header_untrusted(parts.header)
        opened = 0
        for key in recorder.aes_keys:
            try:
                AESGCM(key).decrypt(nonce(header.seq), parts.body, parts.header)
            except InvalidTag:
                continue
            opened += 1
        return opened

    # -- what others call --------------------------------------------------------------------------------------

    @handler
    async def poke(self, value: int) -> int:
        """Answer with the same number."""
        return value

    @handler
    async def wait_until(self, now: int) -> None:
        """Answer when CLOCK_BOOTTIME has come to this, in ms."""
        await asyncio.sleep(max(0, now - boottime_ms()) / 1000)
