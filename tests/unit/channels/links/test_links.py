"""The two ends of a channel: what a loop connects with, libzmq or our own engine, and what Primary listens with."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from fakes.link_ends import PATIENCE_S, Heard, frames_of, listening, run, unexpected
from fakes.memory_host import MemoryHost

from tlsrt.channels.frames.frame import BODY_MAX, join_messages
from tlsrt.channels.links.channel import DeclaredChannel, LoopLink, MakeLink
from tlsrt.channels.links.link import SOCKET_NAME, Link
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.links.zmq_link import HIGH_WATER, Libzmq
from tlsrt.errors import Busy, Unavailable


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with listening(tmp_path) as made:
        yield made


@pytest.fixture(params=["libzmq", "native"])
def make(request: pytest.FixtureRequest) -> Iterator[MakeLink]:
    if request.param == "native":
        yield Link
        return
    libzmq = Libzmq()
    yield libzmq.link
    libzmq.end()


@pytest.fixture
def libzmq() -> Iterator[Libzmq]:
    libzmq = Libzmq()
    yield libzmq
    libzmq.end()


SIZES = {
    "one": [10], "small ones that share a message": [20] * 400, "large ones": [BODY_MAX] * 6,
    "all kinds, in order": [number * 911 % 50_000 for number in range(300)],
}  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_frames_come_whole_and_in_order_both_ways(
    tmp_path: Path, listener: socket.socket, make: MakeLink, sizes: list[int]
) -> None:
    frames = frames_of(sizes)

    async def main() -> None:
        at_primary, at_loop = Heard(len(frames)), Heard(len(frames))
        primary = Link(WriteBatch(), at_primary, unexpected)
        primary.listen(listener.fileno())
        loop = make(WriteBatch(), at_loop, unexpected, queue_max=1024)
        loop.connect(str(tmp_path))
        for frame in frames:  # before there is a connection
            loop.send(frame)
        await at_primary.enough.wait()
        for frame in frames:
            primary.send(frame)
        await at_loop.enough.wait()
        assert at_primary.frames == at_loop.frames == frames
        assert loop.depth == primary.depth == 0
        assert loop.close() == [] and primary.close() == []

    run(main)


def test_one_frame_waits_for_nothing_and_a_turns_frames_share_messages(
    tmp_path: Path, listener: socket.socket, libzmq: Libzmq
) -> None:
    """Seen as ZeroMQ messages by a peer that is libzmq too."""
    frames = frames_of([20] * 5)
    listener.close()
    (tmp_path / SOCKET_NAME).unlink()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.setsockopt(zmq.RCVTIMEO, PATIENCE_S * 1000)
    peer.bind(f"ipc://{tmp_path}/{SOCKET_NAME}")

    async def main() -> None:
        hear = asyncio.get_running_loop().run_in_executor
        loop = libzmq.link(WriteBatch(), unexpected, unexpected)
        loop.connect(str(tmp_path))
        loop.send(frames[0])
        assert await hear(None, peer.recv) == frames[0]
        for frame in frames:
            loop.send(frame)
        assert await hear(None, peer.recv) == join_messages(frames)[0]
        loop.close()

    run(main)
    peer.close(0)
    context.term()


def test_a_full_queue_is_busy_and_close_returns_what_was_never_handed_on(tmp_path: Path, make: MakeLink) -> None:
    async def main() -> None:
        loop = make(WriteBatch(), unexpected, unexpected, queue_max=40)
        loop.connect(str(tmp_path))  # there is nobody
        frames = frames_of([100] * 40)
        for frame in frames:
            loop.send(frame)
        with pytest.raises(Busy):
            loop.send(frames[0])
        await asyncio.sleep(0)
        assert loop.depth == 40
        assert loop.close() == frames
        assert loop.close() == []

    run(main)


def test_a_peer_that_does_not_read_fills_the_queue_and_no_more(
    tmp_path: Path, listener: socket.socket, make: MakeLink
) -> None:
    """What is under way (the sockets, and libzmq's HIGH_WATER messages) comes; the rest is told as unsent, in order."""
    frames = frames_of([200_000] * (4 * HIGH_WATER))

    async def main() -> None:
        heard = Heard(1)
        primary = Link(WriteBatch(), heard, unexpected)
        primary.listen(listener.fileno())
        loop = make(WriteBatch(), unexpected, unexpected, queue_max=20)
        loop.connect(str(tmp_path))
        loop.send(frames[0])
        await heard.enough.wait()
        connection = primary._connections[0]
        asyncio.get_running_loop().remove_reader(connection.socket.fileno())
        sent = 1
        with suppress(Busy):
            for frame in frames[1:]:
                loop.send(frame)
                sent += 1
                await asyncio.sleep(0)
        assert sent < len(frames)
        unsent = loop.close()
        assert len(unsent) == 20 and unsent == frames[sent - 20 : sent]
        primary.close()

    run(main)


def test_a_link_finds_the_next_primary_within_moments(tmp_path: Path, listener: socket.socket, make: MakeLink) -> None:
    """Primary is replaced on the same listener, and then the listener itself is."""
    frames = frames_of([100] * 60)

    async def main() -> None:
        turn = WriteBatch()
        loop = make(turn, unexpected, unexpected, queue_max=1024)
        loop.connect(str(tmp_path))
        here = listener
        for round_ in range(20):
            heard: asyncio.Queue[bytes] = asyncio.Queue()
            primary = Link(turn, heard.put_nowait, unexpected)
            primary.listen(here.fileno())
            frame = frames[round_]
            got = None
            while got != frame:  # one that was under way to the Primary before is lost, as its caller is told
                loop.send(frame)
                try:
                    async with asyncio.timeout(0.02):
                        got = await heard.get()
                except TimeoutError:
                    continue
            primary.close()
            if round_ % 2:
                here.close()
                (tmp_path / SOCKET_NAME).unlink()
                here = listening(tmp_path)
        loop.close()
        here.close()

    run(main)


def test_under_pressure_both_ways_nothing_is_lost_and_nobody_stalls(
    tmp_path: Path, listener: socket.socket, make: MakeLink
) -> None:
    """Both queues full again and again: an edge of the descriptor that is lost once would stop a link for good."""
    count = 20_000
    frame = MemoryHost().request(body=b"x" * 1200)

    async def feed(link: LoopLink | Link) -> None:
        sent = 0
        while sent < count:
            try:
                link.send(frame)
                sent += 1
            except Busy:
                await asyncio.sleep(0)

    async def main() -> None:
        at_primary, at_loop = Heard(count), Heard(count)
        primary = Link(WriteBatch(), at_primary, unexpected, queue_max=500)
        primary.listen(listener.fileno())
        loop = make(WriteBatch(), at_loop, unexpected, queue_max=500)
        loop.connect(str(tmp_path))
        await asyncio.gather(feed(primary), feed(loop), at_primary.enough.wait(), at_loop.enough.wait())
        assert set(at_primary.frames) == set(at_loop.frames) == {frame}
        assert len(at_primary.frames) == len(at_loop.frames) == count
        loop.close()
        primary.close()

    run(main)


def test_a_message_that_comes_while_we_send_is_seen(tmp_path: Path, listener: socket.socket, make: MakeLink) -> None:
    """Sending swallows the edge: every answer comes while something else is being sent, and nothing comes after."""
    rounds = 3000
    frame = MemoryHost().request(body=b"x" * 20)

    async def main() -> None:
        turn = WriteBatch()
        primary: Link
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        def answer(data: bytes) -> None:
            primary.send(data)

        primary = Link(turn, answer, unexpected)
        primary.listen(listener.fileno())
        loop = make(turn, answers.put_nowait, unexpected, queue_max=1024)
        loop.connect(str(tmp_path))
        for _ in range(rounds):
            loop.send(frame)
            for _ in range(3):
                await asyncio.sleep(0)
            loop.send(frame)
            await answers.get()
            await answers.get()
        assert answers.empty()
        loop.close()
        primary.close()

    run(main)


MESSAGES: dict[str, Callable[[zmq.Socket[bytes]], object]] = {
    "multipart": lambda peer: peer.send_multipart([b"\x94", b"\x94", b"\x94"]),
    "not_a_message": lambda peer: peer.send(b"\x91\x02"),
}


@pytest.mark.parametrize("reason", MESSAGES)
def test_a_message_that_is_no_frame_is_refused_and_the_next_one_taken(
    tmp_path: Path, listener: socket.socket, make: MakeLink, reason: str
) -> None:
    listener.close()
    (tmp_path / SOCKET_NAME).unlink()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.bind(f"ipc://{tmp_path}/{SOCKET_NAME}")
    frame = frames_of([5])[0]

    async def main() -> None:
        heard, refused = Heard(1), list[str]()
        loop = make(WriteBatch(), heard, refused.append, queue_max=4)
        loop.connect(str(tmp_path))
        MESSAGES[reason](peer)
        peer.send(frame)
        await heard.enough.wait()
        assert refused == [reason] and heard.frames == [frame]
        loop.close()

    run(main)
    peer.close(0)
    context.term()


def test_a_channel_is_down_until_it_is_opened_and_may_be_opened_often(
    tmp_path: Path, listener: socket.socket, make: MakeLink
) -> None:
    frame = frames_of([5])[0]

    async def main() -> None:
        turn = WriteBatch()
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        primary = Link(turn, heard.put_nowait, unexpected)
        primary.listen(listener.fileno())
        channel = DeclaredChannel(make, turn, str(tmp_path), unexpected, unexpected, queue_max=4)
        for _ in range(30):
            with pytest.raises(Unavailable):
                channel.send(frame)
            channel.open()
            channel.send(frame)
            assert await heard.get() == frame
            assert channel.close() == [] and channel.depth == 0
        primary.close()

    run(main)


class Refusal(BaseException):
    """What no reader of frames expects."""


def test_a_link_that_failed_once_goes_on_with_the_next_frame(
    tmp_path: Path, listener: socket.socket, make: MakeLink
) -> None:
    frames = frames_of([20] * 300 + [9000] * 3 + [20] * 300)
    failing = {0, 7, 8, 270, 302, len(frames) - 1}

    async def main() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        heard = Heard(len(frames))

        def take(frame: bytes) -> None:
            heard(frame)
            if len(heard.frames) - 1 in failing:
                raise Refusal

        primary = Link(WriteBatch(), unexpected, unexpected)
        primary.listen(listener.fileno())
        loop = make(WriteBatch(), take, unexpected, queue_max=1024)
        loop.connect(str(tmp_path))
        for frame in frames:
            primary.send(frame)
        await heard.enough.wait()
        assert heard.frames == frames and len(told) == len(failing)
        primary.close()
        loop.close()

    run(main)
