"""The worker of Ai: numpy, as it comes."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator

import numpy as np

from tlsrt.worker import worker


@worker
def burn(seconds: float, threads: int) -> float:
    found = [0.0] * threads

    def one(number: int) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            hashlib.sha256(b"x" * 100).digest()
            found[number] += 1

    running = [threading.Thread(target=one, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(found)


@worker
def multiply(seconds: float, size: int) -> float:
    matrix, end, rounds = np.random.rand(size, size), time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        matrix @ matrix
        rounds += 1
    return float(rounds)


@worker
def count(to: int, pause_ms: int) -> Iterator[dict[str, int]]:
    for number in range(to):
        yield {"done": number + 1, "of": to}
        time.sleep(pause_ms / 1000)


@worker
def take(mb: int) -> int:
    return int(np.ones(mb << 17).nbytes)
