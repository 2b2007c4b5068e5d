"""What the clients promise, against a real host: reuse, streams, deadlines, cancellation, and coming back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from attackers.arena import PACKAGE
from hosts.running_host import RunningHost, running

from tlsrt import AsyncClient, Client
from tlsrt.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from tlsrt.supervisor.control.client import ControlClient

PATIENT = "secondary/patient"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, components={PATIENT: {"class": "captured.patient:Patient", "process": "shared"}},
        policy={f"client/admin -> {PATIENT}": "*"}, packages=[PACKAGE],
    )  # fmt: skip


def on_client(host: RunningHost, work: Callable[[AsyncClient], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with AsyncClient(host.bundle("admin")) as client, asyncio.timeout(60):
            await work(client)

    asyncio.run(run())


async def until(client: AsyncClient, true: Callable[[dict[str, list[str]]], bool]) -> None:
    """Ask the component until it has seen what it shall see; it is told by a frame that takes its way."""
    async with asyncio.timeout(20):
        while not true(await client.call(PATIENT, "seen")):
            await asyncio.sleep(0.01)


def sessions_of_clients(host: RunningHost) -> int:
    with host._as_operator(), ControlClient(host.config.run_dir) as control:
        answer = control.ask("sessions")
    return sum(entry["subject"] == "client/admin" for entry in answer["sessions"])


def test_a_client_does_everything_at_once_on_one_connection(host: RunningHost) -> None:
    async def work(client: AsyncClient) -> None:
        async def take(name: str) -> list[int]:
            items: list[int] = []
            async for item in client.stream(PATIENT, "numbers", name):
                items.append(item)
                if len(items) == 150:
                    return items
            return items

        streams = [asyncio.ensure_future(take(f"stream {number}")) for number in range(4)]
        names = [f"call {number}" for number in range(100)]
        assert await asyncio.gather(*(client.call(PATIENT, "wait", name, 0.01) for name in names)) == names
        assert await asyncio.gather(*streams) == [list(range(150))] * 4
        assert client.connections == 1 and sessions_of_clients(host) == 1

    on_client(host, work)


def test_threads_share_the_connection_of_a_synchronous_client(host: RunningHost) -> None:
    answers: list[str] = []
    with Client(host.bundle("admin")) as client:
        threads = [
            threading.Thread(
                target=lambda name=f"thread {number}": answers.append(client.call(PATIENT, "wait", name, 0.0))
            )
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(answers) == [f"thread {number}" for number in range(8)]
        assert sessions_of_clients(host) == 1
        stream = client.stream(PATIENT, "numbers", "synchronous")
        assert [next(stream) for _ in range(200)] == list(range(200))
        stream.close()  # type: ignore[attr-defined] # it is a generator
        while "synchronous" not in client.call(PATIENT, "seen")["left"]:
            time.sleep(0.01)


def test_who_is_cancelled_or_late_is_let_go_of_at_the_other_end_too(host: RunningHost) -> None:
    async def work(client: AsyncClient) -> None:
        task = asyncio.ensure_future(client.call(PATIENT, "wait", "cancelled", 60.0, timeout_s=90.0))
        await until(client, lambda seen: "cancelled" in seen["begun"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stream = client.stream(PATIENT, "numbers", "cut short")
        assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
        await stream.aclose()
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceeded):
            await client.call(PATIENT, "wait", "late", 60.0, timeout_s=0.3)
        assert 0.25 < asyncio.get_running_loop().time() - began < 10
        await until(client, lambda seen: {"cancelled", "cut short", "late"} <= set(seen["left"]))
        assert client.connections == 1

    on_client(host, work)


def test_clients_come_back_by_themselves_and_repeat_only_what_they_may(host: RunningHost) -> None:
    """All that were connected to a Primary that is killed; the pauses before are drawn at random (`Backoff`)."""

    async def run() -> None:
        clients = [AsyncClient(host.bundle("admin")) for _ in range(6)]
        for client in clients:
            await client.connect()
        keyed = [
            asyncio.ensure_future(client.call(PATIENT, "hold", f"keyed {number}", timeout_s=60.0, idempotent=True))
            for number, client in enumerate(clients)
        ]
        bare = asyncio.ensure_future(clients[0].call(PATIENT, "wait", "bare", 60.0, timeout_s=90.0))
        stream = clients[1].stream(PATIENT, "numbers", "broken")
        assert await anext(stream) == 0
        await until(
            clients[0], lambda seen: len([name for name in seen["begun"] if "keyed" in name or name == "bare"]) >= 7
        )
        await asyncio.to_thread(host.respawn, "primary")
        with pytest.raises(OutcomeUnknown):
            await bare
        with pytest.raises((OutcomeUnknown, Unavailable)):
            async for _ in stream:
                pass
        await clients[0].call(PATIENT, "release")
        assert await asyncio.gather(*keyed) == [f"keyed {number}" for number in range(6)]
        assert min(client.connections for client in clients) >= 2
        seen = await clients[0].call(PATIENT, "seen")
        assert sorted(name for name in seen["begun"] if "keyed" in name) == [f"keyed {number}" for number in range(6)]
        for client in clients:
            await client.close()

    asyncio.run(asyncio.wait_for(run(), 90))
