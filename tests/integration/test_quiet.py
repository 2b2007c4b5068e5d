"""Nobody who behaves is ever charged: messages, reloads, respawns, epochs, slow listeners, lost clients - and no step.

The whole, as stress: 100,000 messages, 100 reloads, 20 respawns, 10 epochs. The suite does a little of each.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from attackers.arena import PACKAGE, VICTIM
from hosts.running_host import RunningHost, running

from tlsrt import AsyncClient, CallError
from tlsrt.supervisor.control.client import ControlClient

EVENTS = "primary/events"
ABREAST = 32  # calls under way at once


class Size(NamedTuple):
    """How much of each."""

    messages: int
    reloads: int
    respawns: int
    epochs: int


LITTLE, WHOLE = Size(2_000, 2, 2, 1), Size(100_000, 100, 20, 10)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """A host that acts, whose local addresses are on no list."""
    yield from running(
        request,
        components={VICTIM: {"class": "captured.counter:Counter", "process": "shared"}},
        policy={f"client/{name} -> {target}": "*" for name in ("admin", "guest") for target in (VICTIM, EVENTS)},
        packages=[PACKAGE],
        clients=["guest"],
        detection={"allow": []},
    )


def ask(host: RunningHost, verb: str) -> dict[str, Any]:
    with ControlClient(host.config.run_dir) as client:
        return client.ask(verb, timeout_s=60)


async def call_much(client: AsyncClient, calls: int) -> int:
    """Make calls, some at once, whatever happens to the host meanwhile; return how many were answered."""
    left, answered = calls, 0

    async def one_after_the_other() -> None:
        nonlocal left, answered
        while left > 0:
            left -= 1
            try:
                await client.call(VICTIM, "add", 1, timeout_s=10)
                answered += 1
            except CallError:  # its loop is being restarted, or the epoch has moved
                await asyncio.sleep(0.01)

    await asyncio.gather(*(one_after_the_other() for _ in range(ABREAST)))
    return answered


async def listen_badly(client: AsyncClient, has_heard: asyncio.Event) -> None:
    """Subscribe, take one event, and read no more."""
    async for _ in client.stream(EVENTS, "lifecycle", timeout_s=300):
        has_heard.set()
        await asyncio.sleep(3600)


def disturb(host: RunningHost, size: Size) -> None:
    """Reload, respawn and change epochs; Primary too dies once."""
    victims = ["secondary", "third", "primary", "external"]
    for number in range(max(size.reloads, size.respawns, size.epochs)):
        if number < size.reloads:
            ask(host, "reload")
        if number < size.respawns:
            host.respawn(victims[number % (2 if size is LITTLE else len(victims))])
        if number < size.epochs:
            ask(host, "rotate")
        socket.create_connection(("127.0.0.1", host.port), 5.0).close()  # a health check: connects, and leaves


async def live(host: RunningHost, size: Size) -> int:
    loop, has_heard = asyncio.get_running_loop(), asyncio.Event()
    async with AsyncClient(host.admin) as client, AsyncClient(host.bundle("guest")) as slow:
        listening = asyncio.ensure_future(listen_badly(slow, has_heard))
        async with asyncio.timeout(30):
            await has_heard.wait()
        disturbing = loop.run_in_executor(None, disturb, host, size)
        answered = 0
        while answered < size.messages:
            answered += await call_much(client, 500)
        await disturbing
        listening.cancel()
    return answered


STRESS = pytest.param(WHOLE, marks=[pytest.mark.stress, pytest.mark.timeout(1800)])


@pytest.mark.parametrize("size", [LITTLE, STRESS], ids=["a little", "all"])
def test_nobody_who_behaves_is_charged(host: RunningHost, size: Size) -> None:
    assert asyncio.run(live(host, size)) >= size.messages
    found = ask(host, "anomalies")
    assert found["steps"] == [] and found["scores"] == [], found
    assert not [one for one in found["detectors"] if one["counted"]], found
    with ControlClient(host.config.run_dir) as client:
        names = {event.get("name") for event in client.follow("events", follow=False, since=0, kinds=["security"])}
    assert not names & {"response", "detected", "anomaly", "offence"}
    assert host.status()["lock"] is None
