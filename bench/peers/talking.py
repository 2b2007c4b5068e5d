"""What measuring clients share: one JSON line a burst from stdin, one JSON line of figures to stdout.

An order has `size` (bytes), `outstanding` (requests under way at once) and `seconds`; the figures are the same as
those of tlsrt_bench.Driver.run.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

Order = dict[str, Any]
Figures = dict[str, float]


def figures(latencies: list[int], elapsed_ns: int) -> Figures:
    """Return the figures of a burst from the latencies (ns) of all its requests."""
    latencies.sort()
    count = len(latencies)
    return {
        "count": count,
        "seconds": elapsed_ns / 1e9,
        "p50_us": latencies[count // 2] / 1000,
        "p99_us": latencies[min(count - 1, count * 99 // 100)] / 1000,
    }


def serve_orders(measure: Callable[[Order], Figures]) -> None:
    """Answer orders until stdin ends."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), flush=True)


def measure_pipelined(send: Callable[[bytes], object], receive: Callable[[], object], order: Order) -> Figures:
    """Keep so many requests under way for so long, with blocking calls; answers come in order."""
    body = os.urandom(order["size"])
    clock = time.perf_counter_ns
    sent: deque[int] = deque()
    latencies: list[int] = []
    begin = clock()
    end = begin + int(order["seconds"] * 1e9)
    for _ in range(order["outstanding"]):
        sent.append(clock())
        send(body)
    while sent:
        receive()
        now = clock()
        latencies.append(now - sent.popleft())
        if now < end:
            sent.append(now)
            send(body)
    return figures(latencies, clock() - begin)


async def measure_calls(call: Callable[[bytes], Awaitable[object]], order: Order) -> Figures:
    """The same with asyncio: one task for each outstanding request."""
    body = os.urandom(order["size"])
    clock = time.perf_counter_ns
    latencies: list[int] = []
    begin = clock()
    end = begin + int(order["seconds"] * 1e9)

    async def keep_calling() -> None:
        now = clock()
        while now < end:
            sent = now
            await call(body)
            now = clock()
            latencies.append(now - sent)

    await asyncio.gather(*(keep_calling() for _ in range(order["outstanding"])))
    return figures(latencies, clock() - begin)
