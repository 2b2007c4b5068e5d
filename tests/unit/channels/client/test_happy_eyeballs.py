"""The socket of a client: connected to the first address that answers, and never one without an owner."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tlsrt.channels.client.connection import client_context, dial
from tlsrt.channels.client.happy_eyeballs import AFTER_S, connected_socket
from tlsrt.channels.session.opening import identity_of
from tlsrt.config.bundle import Bundle

TURNS = 40  # a dial is in its TLS handshake by then


class Owner:
    """Who keeps a connection, and counts its sockets that are closed."""

    def __init__(self) -> None:
        self.closed = 0

    def on_granted(self, content: object) -> None:
        raise AssertionError("no one grants anything here")

    on_frame = on_issuer = on_end = on_granted

    def on_socket_closed(self) -> None:
        self.closed += 1


class NamesLoop(asyncio.SelectorEventLoop):
    """An event loop with a resolver of its own."""

    places: tuple[tuple[int, Any], ...] = ()

    async def getaddrinfo(self, *words: Any, **more: Any) -> list[tuple[int, int, int, str, Any]]:  # type: ignore[override]
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place) for family, place in self.places]


def run(work: Coroutine[Any, Any, Any], *places: Any) -> Any:
    """Run it where every name has these places of IPv4."""
    loop = NamesLoop()
    loop.places = tuple((socket.AF_INET, place) for place in places)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)


@pytest.fixture
def own() -> Iterator[Callable[[socket.socket], socket.socket]]:
    with ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def listening(own: Callable[[socket.socket], socket.socket]) -> socket.socket:
    return own(socket.create_server(("127.0.0.1", 0), backlog=2 * TURNS))


@pytest.fixture
def silent(own: Callable[[socket.socket], socket.socket]) -> Any:
    """A place that answers no one: the queue of its socket is full."""
    full = own(socket.create_server(("127.0.0.1", 0), backlog=0))
    own(socket.create_connection(full.getsockname()))
    return full.getsockname()


@pytest.fixture
def closed(own: Callable[[socket.socket], socket.socket]) -> Any:
    """A place where no one listens, and no one else will."""
    bound = own(socket.socket())
    bound.bind(("127.0.0.1", 0))
    return bound.getsockname()


def sockets() -> int:
    """Return how many this process has."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "a.name.example"])
def test_a_dial_that_is_cancelled_in_any_turn_leaves_no_socket(
    bundle: Bundle, listening: socket.socket, host: str
) -> None:
    """Nothing is collected here: what is in a cycle would stay."""

    async def main() -> None:
        port, before = listening.getsockname()[1], sockets()
        for turns in range(1, TURNS):
            owner = Owner()
            dialing = asyncio.ensure_future(
                dial(host, port, "localhost", client_context(bundle), identity_of(bundle), owner, 10)
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            dialing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialing
            while asyncio.all_tasks() - {asyncio.current_task()} or not owner.closed:
                await asyncio.sleep(0)
            await asyncio.sleep(0)  # as a transport closes its socket in a turn of its own
            assert (sockets(), owner.closed) == (before, 1), f"cancelled after {turns} turns"

    gc.collect()
    gc.disable()
    try:
        run(main(), listening.getsockname())
    finally:
        gc.enable()
    listening.setblocking(False)
    spoken = []
    with suppress(BlockingIOError):
        while True:
            taken, _ = listening.accept()
            with taken:
                spoken.append(len(taken.recv(1 << 16)))
    assert len(spoken) > TURNS // 2 and spoken[-1] > 100, "late ones have connected, and said their first words"


def test_the_first_place_that_answers_is_taken_and_the_others_are_let_go(
    listening: socket.socket, silent: Any, closed: Any
) -> None:
    async def main() -> None:
        before, began = sockets(), asyncio.get_running_loop().time()
        made = await connected_socket("a.name.example", 1)
        took_s = asyncio.get_running_loop().time() - began
        with made:
            assert made.getpeername() == listening.getsockname() and not made.getblocking()
            assert took_s >= AFTER_S, "the silent one was waited for"
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=made)
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert sockets() == before + 1
            transport.abort()
            await asyncio.sleep(0)

    run(main(), closed, silent, listening.getsockname())


def test_families_are_tried_in_turn(closed: Any) -> None:
    tried: list[int] = []

    class NotingLoop(NamesLoop):
        places = tuple(
            (family, closed) for family in (socket.AF_INET6, socket.AF_INET6, socket.AF_INET, socket.AF_INET)
        )

        async def sock_connect(self, sock: socket.socket, address: Any) -> None:
            tried.append(sock.family)
            raise OSError(errno.ENETUNREACH, "not today")

    with asyncio.Runner(loop_factory=NotingLoop) as runner, pytest.raises(OSError, match="not today"):
        runner.run(connected_socket("a.name.example", 1))
    assert tried == [socket.AF_INET6, socket.AF_INET] * 2


def test_the_errors_of_all_places_are_in_one(closed: Any) -> None:
    async def main(number: int) -> OSError:
        try:
            await connected_socket("a.name.example" if number else "127.0.0.1", closed[1])
        except OSError as error:
            return error.with_traceback(None)
        raise AssertionError("no one listens")

    one = run(main(0))
    assert isinstance(one, ConnectionRefusedError) and f"[Errno {errno.ECONNREFUSED}]" in str(one)
    two = run(main(1), closed, ("127.0.0.1", 0))
    assert str(two).startswith("Multiple exceptions: [Errno ") and str(closed[1]) in str(two)
    assert str(run(main(2))) == "a.name.example has no address"
