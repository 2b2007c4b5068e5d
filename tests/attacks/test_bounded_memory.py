"""Attacked sentence: memory stays bounded while components and clients flood, and one that does not read is cut off."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.flow_package.flowing import asker as asking
from hosts.running_host import RunningHost, running

from tlsrt import AsyncClient, CallError

PACKAGE = Path(asking.__file__).parent
LEDGER, FLOODER = asking.LEDGER, "third/flooder"
RISE = 0.4  # of the time: until then queues and memos may fill
GROWTH_MIB = 24  # of all processes together afterwards
LEFT_MIB = 24  # of 90 that a cut client had left: 5 stay; 74 did while ended calls and their errors held each other


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request,
        components={
            LEDGER: {"class": "flowing.ledger:Ledger", "process": "shared"},
            FLOODER: {"class": "flowing.asker:Flooder", "process": "shared"},
        },
        policy={f"client/admin -> {LEDGER}": "*", f"client/admin -> {FLOODER}": "*", f"{FLOODER} -> {LEDGER}": "*"},
        packages=[PACKAGE],
    )


def memory_mib(host: RunningHost) -> float:
    """Return the resident memory of everybody, each one's shared pages included."""
    return sum(psutil.Process(pid).memory_info().rss for pid in host.pids().values()) / (1 << 20)


def of_loops_mib(host: RunningHost) -> float:
    """Return the resident memory of the processes that carry messages."""
    pids = {name: pid for name, pid in host.pids().items() if name not in ("launcher", "supervisor", "authority")}
    return sum(psutil.Process(pid).memory_info().rss for pid in pids.values()) / (1 << 20)


async def flood_by_client(host: RunningHost, end: float) -> None:
    async with AsyncClient(host.admin) as client:

        async def keep_calling() -> None:
            while time.monotonic() < end:
                try:
                    await client.call(LEDGER, "measure", "x" * 500, timeout_s=asking.TIMEOUT_S)
                except CallError:
                    await asyncio.sleep(0.001)

        await asyncio.gather(*(keep_calling() for _ in range(1200)))


@pytest.mark.parametrize("seconds", [8, pytest.param(600, marks=[pytest.mark.stress, pytest.mark.timeout(900)])])
def test_a_flood_by_a_component_and_a_client_fills_no_memory(host: RunningHost, seconds: int) -> None:
    control = host.client()
    end = time.monotonic() + seconds
    ended: list[Any] = []

    def flood() -> None:
        while (left := end - time.monotonic()) > 0:
            ended.append(control.call(FLOODER, "flood", min(left, 60.0), 2000, timeout_s=120))

    threads = [
        threading.Thread(target=flood), threading.Thread(target=lambda: asyncio.run(flood_by_client(host, end)))
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    threads[0].join(seconds * RISE)
    risen = memory_mib(host)
    for thread in threads:
        thread.join(seconds + 60)
        assert not thread.is_alive()
    assert sum(ended) > 1000, "nobody flooded"
    assert memory_mib(host) < risen + GROWTH_MIB
    assert all(host.loop(name)["restarts"] == 0 for name in ("primary", "secondary", "third"))


def test_a_client_that_does_not_read_is_cut_off_and_told_by_the_end_of_its_calls(host: RunningHost) -> None:
    before = of_loops_mib(host)

    async def main() -> list[Any]:
        async with AsyncClient(host.admin) as client:
            link: Any = client._session._link
            link.connection.transport.pause_reading()
            calls = [asyncio.ensure_future(client.call(LEDGER, "give", 200_000, timeout_s=30)) for _ in range(400)]
            await asyncio.to_thread(wait_for_the_cut, host)
            link.connection.transport.resume_reading()
            return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(asyncio.wait_for(main(), 60))
    lost = [result for result in results if isinstance(result, CallError)]
    assert {error.code for error in lost} == {"outcome_unknown"}
    assert len(lost) > 200
    host.until(lambda status: of_loops_mib(host) < before + LEFT_MIB, "that what was cut off is given back")
    assert host.client().call(LEDGER, "measure", "four") == 4, "nobody else notices"


def wait_for_the_cut(host: RunningHost) -> None:
    limit = time.monotonic() + 30
    while "slow_reader" not in host.log("primary"):
        assert time.monotonic() < limit, "it was never cut off"
        time.sleep(0.05)
