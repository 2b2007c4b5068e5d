"""Sockets on one epoll keep the rules of an asyncio transport."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.tls.epoll_transport import (
    GROUP_BYTES,
    READ_COST,
    STRANGER_COST,
    STRANGERS_MAX,
    EpollLoop,
    EpollTransport,
)

LARGE = bytes(range(256)) * 40_000  # more than a socket takes at once


class Recorder(asyncio.BufferedProtocol):
    """Notes what it is told; `on_data` is what it does with bytes."""

    def __init__(self, on_data: Callable[[EpollTransport, bytes], None] = lambda wire, data: None) -> None:
        self.buffer = bytearray(4096)
        self.got = b""
        self.ends = 0
        self.lost: list[Exception | None] = []
        self.gone = asyncio.Event()
        self._on_data = on_data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, EpollTransport)
        self.wire = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self.buffer[:nbytes])
        self.got += data
        self._on_data(self.wire, data)

    def eof_received(self) -> bool:
        self.ends += 1
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)
        self.gone.set()


class Ends:
    """A wire and the other end of its socket."""

    def __init__(self, protocol: Recorder) -> None:
        self.protocol = protocol
        self.wires = EpollLoop(WriteBatch())
        accepted, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        self.wire = self.wires.add(accepted, protocol)
        self.loop = asyncio.get_running_loop()

    async def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = await self.loop.sock_recv(self.peer, 65536)
            if not piece:
                break
            data += piece
        return data

    async def gone(self) -> None:
        async with asyncio.timeout(10):
            await self.protocol.gone.wait()
        self.peer.close()
        self.wires.close()
        assert len(self.protocol.lost) == 1


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run_it() -> None:
        asyncio.run(test())

    return run_it


@run
async def test_bytes_go_both_ways_and_the_end_is_told_once() -> None:
    ends = Ends(Recorder(lambda wire, data: wire.write(data.upper())))
    await ends.loop.sock_sendall(ends.peer, b"hello")
    assert await ends.receive(5) == b"HELLO"
    ends.peer.shutdown(socket.SHUT_WR)
    await ends.gone()
    assert ends.protocol.ends == 1 and ends.protocol.lost == [None]


@run
async def test_each_callback_that_reads_is_a_turn_of_its_own() -> None:
    turns: list[int] = []
    ends = Ends(Recorder(lambda wire, data: turns.append(ends.wires._batch.turn)))
    for _ in range(3):
        await ends.loop.sock_sendall(ends.peer, b"hello")
        while len(turns) < len(ends.protocol.got) // 5 or not ends.protocol.got:
            await asyncio.sleep(0)
        ends.protocol.got = b""
    assert len(set(turns)) == 3
    ends.wire.abort()
    await ends.gone()


@run
async def test_what_the_socket_does_not_take_waits_and_arrives_in_order() -> None:
    ends = Ends(Recorder())
    ends.wire.write(LARGE)
    waiting = ends.wire.get_write_buffer_size()
    assert 0 < waiting < len(LARGE)
    ends.wire.write(b"the end")
    assert ends.wire.get_write_buffer_size() == waiting + 7
    assert await ends.receive(len(LARGE) + 7) == LARGE + b"the end"
    assert ends.wire.get_write_buffer_size() == 0
    ends.wire.abort()
    await ends.gone()


@pytest.mark.parametrize("end", [EpollTransport.close, EpollTransport.write_eof])
def test_an_end_comes_after_all_that_was_written(end: Callable[[EpollTransport], None]) -> None:
    @run
    async def test() -> None:
        ends = Ends(Recorder())
        ends.wire.write(LARGE)
        end(ends.wire)
        end(ends.wire)
        ends.wire.write(b"too late")
        assert await ends.receive(len(LARGE) + 1) == LARGE
        ends.peer.close()
        await ends.gone()

    test()


@run
async def test_after_shutting_our_side_the_peer_is_still_heard() -> None:
    ends = Ends(Recorder())
    ends.wire.write_eof()
    assert await ends.receive(1) == b""
    await ends.loop.sock_sendall(ends.peer, b"last words")
    ends.peer.close()
    await ends.gone()
    assert ends.protocol.got == b"last words"


@run
async def test_the_peers_end_closes_only_when_all_is_written() -> None:
    ends = Ends(Recorder())
    ends.wire.write(LARGE)
    ends.peer.shutdown(socket.SHUT_WR)
    assert await ends.receive(len(LARGE) + 1) == LARGE
    await ends.gone()
    assert ends.protocol.ends == 1


@run
async def test_who_rests_is_not_read_and_is_written_to_and_nothing_is_lost() -> None:
    ends = Ends(Recorder())
    begin = ends.loop.time()
    ends.wire.rest(0.2)
    ends.wire.rest(60)  # the first one counts
    await ends.loop.sock_sendall(ends.peer, b"while it rests")
    ends.wire.write(LARGE)
    assert await ends.receive(len(LARGE)) == LARGE
    while not ends.protocol.got:
        await asyncio.sleep(0.001)
    assert ends.protocol.got == b"while it rests" and ends.loop.time() >= begin + 0.2
    ends.peer.shutdown(socket.SHUT_WR)
    await ends.gone()


@pytest.mark.parametrize("end", [EpollTransport.close, EpollTransport.abort])
def test_an_end_while_it_rests_is_an_end(end: Callable[[EpollTransport], None]) -> None:
    @run
    async def test() -> None:
        ends = Ends(Recorder())
        ends.wire.rest(0.01)
        end(ends.wire)
        ends.wire.rest(0.01)
        await ends.gone()
        await asyncio.sleep(0.05)  # its timer finds nobody

    test()


@run
async def test_abort_drops_what_waits_and_never_calls_back_at_once() -> None:
    ends = Ends(Recorder())
    ends.wire.write(LARGE)
    ends.wire.abort()
    ends.wire.abort()
    assert ends.protocol.lost == [] and ends.wire.is_closing() and ends.wire.get_write_buffer_size() == 0
    await ends.gone()


@run
async def test_a_peer_that_has_gone_is_told_as_an_error() -> None:
    ends = Ends(Recorder())
    ends.wire.write(LARGE)
    ends.peer.close()
    await ends.gone()
    assert isinstance(ends.protocol.lost[0], OSError)


@run
async def test_a_protocol_that_fails_ends_its_own_connection_only() -> None:
    told: list[dict[str, Any]] = []

    def fail(wire: EpollTransport, data: bytes) -> None:
        raise ZeroDivisionError

    ends = Ends(Recorder(fail))
    ends.loop.set_exception_handler(lambda loop, context: told.append(context))
    accepted, other_peer = socket.socketpair()
    other_peer.setblocking(False)
    other = Recorder(lambda wire, data: wire.write(data))
    ends.wires.add(accepted, other)
    for peer in (ends.peer, other_peer):
        await ends.loop.sock_sendall(peer, b"x")
    assert await ends.loop.sock_recv(other_peer, 10) == b"x"
    other_peer.close()
    async with asyncio.timeout(10):
        await other.gone.wait()
    await ends.gone()
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]


@run
async def test_answers_of_one_callback_leave_with_its_turn() -> None:
    turn = WriteBatch()
    wires = EpollLoop(turn)
    left: list[str] = []
    pairs = [socket.socketpair() for _ in range(3)]

    def note(wire: EpollTransport, data: bytes) -> None:
        left.append("read")
        turn.want(lambda: left.append("left"))

    protocols = [Recorder(note) for _ in pairs]
    for (accepted, peer), protocol in zip(pairs, protocols, strict=True):
        wires.add(accepted, protocol)
        peer.send(b"x")
    for _, peer in pairs:
        peer.close()
    for protocol in protocols:
        async with asyncio.timeout(10):
            await protocol.gone.wait()
    assert left == ["read"] * 3 + ["left"] * 3
    wires.close()


@run
async def test_many_sockets_of_one_group_do_not_keep_another_waiting() -> None:
    """200 sockets of one client are ready; one of another, which came last, is served in the same callback."""
    turn = WriteBatch()
    wires = EpollLoop(turn)
    order: list[str] = []

    def note(group: str) -> Callable[[EpollTransport, bytes], None]:
        return lambda wire, data: order.append(group)

    pairs = [socket.socketpair() for _ in range(201)]
    protocols = []
    for number, (accepted, peer) in enumerate(pairs):
        group = "innocent" if number == 200 else "flood"
        protocols.append(Recorder(note(group)))
        wires.add(accepted, protocols[-1], group)
        peer.send(bytes(READ_COST))
    for _, peer in pairs:
        peer.close()
    for protocol in protocols:
        async with asyncio.timeout(20):
            await protocol.gone.wait()
    assert order.index("innocent") <= GROUP_BYTES // READ_COST
    assert order.count("flood") == 200
    wires.close()


@run
async def test_few_handshakes_are_made_in_a_turn_wherever_they_come_from() -> None:
    """Strangers of 200 addresses are ready, and a client that came last is served in the same callback."""
    wires = EpollLoop(WriteBatch())
    order: list[str] = []
    waited: list[bool] = []

    def note(group: str) -> Callable[[EpollTransport, bytes], None]:
        def noted(wire: EpollTransport, data: bytes) -> None:
            order.append(group)
            waited.append(wires.has_waiting_strangers)

        return noted

    pairs = [socket.socketpair() for _ in range(201)]
    protocols = []
    for number, (accepted, peer) in enumerate(pairs):
        group, least = ("client", READ_COST) if number == 200 else (f"10.0.0.{number}", STRANGER_COST)
        protocols.append(Recorder(note(group)))
        wires.add(accepted, protocols[-1], group, least)
        peer.send(b"hello")
    for _, peer in pairs:
        peer.close()
    for protocol in protocols:
        async with asyncio.timeout(20):
            await protocol.gone.wait()
    assert order.index("client") <= STRANGERS_MAX and waited[-1] is False
    assert sorted(order) == sorted(["client", *(f"10.0.0.{number}" for number in range(200))]), "none is forgotten"
    wires.close()


@run
async def test_only_strangers_that_were_never_read_are_waited_for() -> None:
    """More than a callback reads have sent a byte: they count until each was read once or is closed, and no longer."""
    wires = EpollLoop(WriteBatch())
    pairs = [socket.socketpair() for _ in range(4 * STRANGERS_MAX)]
    protocols: list[Recorder] = []

    def again(wire: EpollTransport) -> None:
        pairs[numbers[wire]][1].send(b"x")

    for number, (accepted, peer) in enumerate(pairs):
        protocols.append(Recorder(lambda wire, data: again(wire)))
        wires.add(accepted, protocols[-1], f"10.0.0.{number}", STRANGER_COST)
        peer.send(b"x")
    numbers = {protocol.wire: number for number, protocol in enumerate(protocols)}
    while not any(protocol.got for protocol in protocols):
        await asyncio.sleep(0)
    assert wires.has_waiting_strangers
    while sum(bool(protocol.got) for protocol in protocols) <= 2 * STRANGERS_MAX:  # they go on, and are read in turn
        await asyncio.sleep(0)
    assert wires.has_waiting_strangers
    for protocol in protocols:
        if not protocol.got:
            protocol.wire.abort()
    assert not wires.has_waiting_strangers, "those that waited are gone"
    for _ in range(10):  # the others go on, more than a callback reads
        await asyncio.sleep(0)
        assert not wires.has_waiting_strangers
    for protocol in protocols:
        protocol.wire.abort()
        await protocol.gone.wait()
    for _, peer in pairs:
        peer.close()
    wires.close()


@run
async def test_sockets_of_one_group_that_ask_again_at_once_do_not_keep_its_others_waiting() -> None:
    """100 clients behind one address, each asks again when it is answered: all of them come equally often."""
    wires = EpollLoop(WriteBatch())
    pairs = [socket.socketpair() for _ in range(100)]
    served = [0] * len(pairs)
    done = asyncio.Event()

    def again(number: int) -> Callable[[EpollTransport, bytes], None]:
        def ask(wire: EpollTransport, data: bytes) -> None:
            served[number] += 1
            pairs[number][1].send(b"x")
            if sum(served) >= 3000:
                done.set()

        return ask

    made = []
    for number, (accepted, peer) in enumerate(pairs):
        made.append(wires.add(accepted, Recorder(again(number)), "one"))
        peer.send(b"x")
    async with asyncio.timeout(20):
        await done.wait()
    assert max(served) - min(served) <= 2, served
    for wire in made:
        wire.abort()
    await asyncio.sleep(0)
    for _, peer in pairs:
        peer.close()
    wires.close()
