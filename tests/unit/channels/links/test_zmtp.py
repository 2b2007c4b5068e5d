"""The protocol of ZeroMQ as the links speak it: what is read, what is refused, and that libzmq finds no difference."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from fakes.memory_host import MemoryHost
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.frames.frame import MESSAGE_MAX, join_messages, split_message_untrusted
from tlsrt.channels.links.link import SOCKET_NAME, Link
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.links.zmtp import COMMAND_MAX, CRUMB_BYTES, CRUMBS_MAX, GREETING, READY, ZmtpReader, message_head
from tlsrt.config.processes import LINK_CONNECTIONS_MAX
from tlsrt.errors import PeerError

LIMIT = 1000
LIBZMQ_READY = b"\x04\x29" + READY[2:] + b"\x08Identity\x00\x00\x00\x00"


def wire(message: bytes, flags: int = 0) -> bytes:
    head = message_head(len(message))
    return bytes((head[0] | flags,)) + head[1:] + message


def shaken() -> ZmtpReader:
    reader = ZmtpReader(LIMIT)
    assert reader.feed_untrusted(GREETING + READY) == []
    assert reader.ready
    return reader


@given(st.lists(st.binary(max_size=LIMIT), max_size=6), st.lists(st.integers(1, 400), max_size=40))
def test_the_same_messages_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    data = GREETING + LIBZMQ_READY + b"".join(wire(message) for message in messages)
    reader, got = ZmtpReader(LIMIT), []
    for cut in cuts:
        got += reader.feed_untrusted(data[:cut])
        data = data[cut:]
    got += reader.feed_untrusted(data)
    assert got == messages
    assert reader.ready


@given(
    st.lists(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=3), max_size=6),
    st.lists(st.integers(1, 400), max_size=12),
)
def test_what_comes_in_parts_is_dropped_however_it_is_cut(messages: list[list[bytes]], cuts: list[int]) -> None:
    data = b"".join(
        wire(part, flags=int(left > 0))
        for parts in messages
        for left, part in zip(range(len(parts))[::-1], parts, strict=True)
    )
    reader, got = shaken(), []
    for cut in [*cuts, len(data)]:
        got += reader.feed_untrusted(data[:cut])
        data = data[cut:]
    assert got == [parts[0] for parts in messages if len(parts) == 1]
    assert reader.multiparts == sum(len(parts) > 1 for parts in messages)


def test_the_end_of_a_short_message_counts_as_one_of_the_crumbs() -> None:
    crumb = wire(bytes(CRUMB_BYTES - 1))
    shaken().feed_untrusted(crumb * CRUMBS_MAX)
    for cut in (2, 10):
        reader = shaken()
        reader.feed_untrusted(crumb[:cut])
        with pytest.raises(PeerError, match="zmtp_crumbs"):
            reader.feed_untrusted(crumb[cut:] + crumb * CRUMBS_MAX)


@given(st.lists(st.binary(max_size=80), max_size=8), st.booleans())
def test_any_bytes_are_read_or_the_one_error(pieces: list[bytes], greeted: bool) -> None:
    reader = shaken() if greeted else ZmtpReader(LIMIT)
    try:
        for piece in pieces:
            reader.feed_untrusted(piece)
    except PeerError:
        return
    assert len(reader._rest) <= LIMIT + 9


REFUSED = {
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "an older version": GREETING[:10] + b"\x01" + GREETING[11:],
    "another mechanism": GREETING.replace(b"NULL\0", b"CURVE"),
    "another socket type": GREETING + READY.replace(b"DEALER", b"PUBSUB"),
    "a message before READY": GREETING + wire(b"x"),
    "another command before READY": GREETING + b"\x04\x05\x04PING",
    "a command that is too long": GREETING + b"\x06" + (COMMAND_MAX + 1).to_bytes(8, "big"),
    "a flag that nobody knows": GREETING + READY + b"\x08\x00",
    "one byte too many": GREETING + READY + b"\x02" + (LIMIT + 1).to_bytes(8, "big"),
    "4 EiB": GREETING + READY + b"\x02" + (1 << 62).to_bytes(8, "big"),
    "a part of 4 EiB": GREETING + READY + b"\x03" + (1 << 62).to_bytes(8, "big"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_ends_a_connection(data: bytes) -> None:
    with pytest.raises(PeerError):
        ZmtpReader(LIMIT).feed_untrusted(data)


def test_parts_without_end_are_dropped_while_they_come() -> None:
    reader = shaken()
    for _ in range(1000):
        assert reader.feed_untrusted(wire(bytes(LIMIT), flags=1)) == []
        assert len(reader._rest) == 0
    assert reader.multiparts == 1
    assert reader.feed_untrusted(wire(b"the last") + wire(b"whole")) == [b"whole"]
    assert reader.multiparts == 1


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET_NAME))
        listener.listen(64)
        yield listener


@pytest.mark.parametrize("ours", ["listens", "connects"])
def test_libzmq_finds_no_difference(tmp_path: Path, ours: str, listener: socket.socket) -> None:
    """A DEALER of libzmq at the other end, on either side: frames, batches, large ones, both ways."""
    world = MemoryHost()
    frames = [world.request(body=b"x" * (number * 911 % 50_000 if number % 3 else number)) for number in range(60)]

    def receive(peer: zmq.Socket[bytes]) -> list[bytes]:
        messages: list[bytes] = []
        while sum(len(split_message_untrusted(message)) for message in messages) < len(frames):
            messages.append(peer.recv())
        return messages

    async def main() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        peer = context.socket(zmq.DEALER)
        peer.setsockopt(zmq.RCVTIMEO, 20_000)
        got: list[bytes] = []
        whole = asyncio.Event()

        def on_frame(frame: bytes) -> None:
            got.append(frame)
            if len(got) == len(frames):
                whole.set()

        link = Link(WriteBatch(), on_frame, pytest.fail)
        if ours == "listens":
            link.listen(listener.fileno())
            peer.connect(f"ipc://{tmp_path}/{SOCKET_NAME}")
        else:
            listener.close()
            (tmp_path / SOCKET_NAME).unlink()
            peer.bind(f"ipc://{tmp_path}/{SOCKET_NAME}")
            link.connect(str(tmp_path))
        for message in join_messages(frames):
            peer.send(message)
        async with asyncio.timeout(20):
            await whole.wait()
        assert got == frames
        for frame in frames:
            link.send(frame)
        back = await asyncio.get_running_loop().run_in_executor(None, receive, peer)
        assert [frame for message in back for frame in split_message_untrusted(message)] == frames
        assert len(back) < len(frames), "small neighbours share a message"
        link.close()
        peer.close(0)
        context.term()

    asyncio.run(main())


def test_a_lost_connection_is_made_anew_and_one_too_many_costs_the_oldest(
    tmp_path: Path, listener: socket.socket
) -> None:
    async def main() -> None:
        turn, came, refused = WriteBatch(), asyncio.Queue[bytes](), list[str]()
        primary = Link(turn, came.put_nowait, refused.append)
        primary.listen(listener.fileno())
        loop = Link(turn, lambda frame: None, refused.append)
        loop.connect(str(tmp_path))
        frame = MemoryHost().request()
        strangers: list[socket.socket] = []
        async with asyncio.timeout(20):
            for _ in range(3):
                loop.send(frame)
                assert await came.get() == frame
                for _ in range(LINK_CONNECTIONS_MAX):
                    stranger = socket.socket(socket.AF_UNIX)
                    stranger.connect(str(tmp_path / SOCKET_NAME))
                    strangers.append(stranger)
                while loop._ready is not None:
                    await asyncio.sleep(0)
        assert len(primary._connections) <= LINK_CONNECTIONS_MAX
        strangers[-1].send(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(20):
            while "zmtp_greeting" not in refused:
                await asyncio.sleep(0)
        for link in (loop, primary):
            link.close()
        for stranger in strangers:
            stranger.close()

    asyncio.run(main())


def test_a_message_over_the_limit_is_refused_at_its_length() -> None:
    reader = ZmtpReader(MESSAGE_MAX)
    reader.feed_untrusted(GREETING + READY)
    with pytest.raises(PeerError, match="zmtp_oversize"):
        reader.feed_untrusted(b"\x02" + (MESSAGE_MAX + 1).to_bytes(8, "big"))
