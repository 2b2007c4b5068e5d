"""What a thread waits for when another one closes its client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator

import pytest

from tlsrt import Cancelled, Client


@pytest.fixture
def client() -> Iterator[Client]:
    """A client without a host, and the thread of its event loop."""
    client = Client.__new__(Client)
    client._loop = asyncio.new_event_loop()
    thread = threading.Thread(target=client._loop.run_forever)
    thread.start()
    yield client
    client._loop.call_soon_threadsafe(client._loop.stop)
    thread.join()
    client._loop.close()


def test_what_is_cut_off_by_a_close_has_the_type_of_a_call_error(client: Client) -> None:
    async def never() -> None:
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)  # type: ignore[union-attr]
        await asyncio.Event().wait()

    with pytest.raises(Cancelled, match="closed meanwhile"):
        client._run(never())


def test_a_forgotten_stream_may_be_collected_in_the_thread_of_its_client(client: Client) -> None:
    """Which would wait for itself."""
    ended = threading.Event()

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            ended.set()

    kept = [client._iterate(numbers())]
    assert next(kept[0]) == 1
    client._loop.call_soon_threadsafe(kept.clear)  # the last reference to it
    assert ended.wait(10)

    async def answers() -> int:
        return 3

    assert client._run(answers()) == 3


def test_a_stream_that_is_ended_early_has_ended_then(client: Client) -> None:
    ended: list[bool] = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    for _ in client._iterate(numbers()):
        break
    assert ended == [True]
