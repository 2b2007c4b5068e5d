"""Edges of libzmq's descriptor that a send swallows: what came, and room, are seen all the same."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from fakes.link_ends import PATIENCE_S, Heard, frames_of, listening, run, unexpected

from tlsrt.channels.links.link import Link
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.links.zmq_link import HIGH_WATER, Libzmq, ZmqLink


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with listening(tmp_path) as made:
        yield made


@pytest.fixture
def libzmq() -> Iterator[Libzmq]:
    libzmq = Libzmq()
    yield libzmq
    libzmq.end()


def let_sends_swallow_edges(link: ZmqLink, before_again: Callable[[], object]) -> None:
    """Let every send swallow the edges of the descriptor, as it may at any time."""
    real = link._send

    def send(message: bytes, flags: int) -> None:
        try:
            real(message, flags)
        except zmq.Again:
            before_again()
            raise
        finally:
            link._events()

    link._send = send


def is_readable(descriptor: int, timeout_s: float) -> bool:
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def test_a_message_whose_edge_is_swallowed_by_a_send_is_received(
    tmp_path: Path, listener: socket.socket, libzmq: Libzmq
) -> None:
    frame = frames_of([5])[0]

    async def main() -> None:
        at_primary, at_loop = Heard(1), Heard(1)
        primary = Link(WriteBatch(), at_primary, unexpected)
        primary.listen(listener.fileno())
        loop = libzmq.link(WriteBatch(), at_loop, unexpected)
        loop.connect(str(tmp_path))
        loop.send(frame)
        await at_primary.enough.wait()
        let_sends_swallow_edges(loop, lambda: None)
        primary.send(frame)
        primary.flush()
        assert is_readable(loop._descriptor(), PATIENCE_S)
        loop.send(frame)
        loop.flush()
        assert not is_readable(loop._descriptor(), 0)
        await at_loop.enough.wait()
        loop.close()
        primary.close()

    run(main)


def test_room_whose_edge_is_swallowed_by_a_send_is_used(
    tmp_path: Path, listener: socket.socket, libzmq: Libzmq
) -> None:
    """Seen once: a link that was full, and had been told of room before it asked, stalled for good."""
    frames = frames_of([60_000] * (4 * HIGH_WATER))

    async def main() -> None:
        at_primary = Heard(1)
        primary = Link(WriteBatch(), at_primary, unexpected)
        primary.listen(listener.fileno())
        loop = libzmq.link(WriteBatch(), unexpected, unexpected)
        loop.connect(str(tmp_path))
        loop.send(frames[0])
        await at_primary.enough.wait()
        wire = primary._connections[0].socket
        asyncio.get_running_loop().remove_reader(wire.fileno())
        depths: list[int] = []

        def make_room() -> None:
            depths.append(loop.depth)
            while len(depths) == 1 and not is_readable(loop._descriptor(), 0):
                if is_readable(wire.fileno(), 0.01):
                    wire.recv(1 << 20)

        let_sends_swallow_edges(loop, make_room)
        for frame in frames:
            loop.send(frame)
        loop.flush()
        assert len(depths) == 2 and loop._full  # it found the room of the first time
        loop.close()
        primary.close()

    run(main)
