"""A worker for tests: one function for each way in which a call can go."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tlsrt import InvalidArgument
from tlsrt.worker import worker
from working.model_types import Found  # type: ignore[import-not-found]

print("a library greets when it is imported")
os.write(1, b"and another one does it in C\n")


@worker
def echo(data: bytes) -> bytes:
    return data


@worker
def size(data: bytes) -> int:
    print("a library prints")
    return len(data)


@worker
def found(label: str, score: float = 0.5) -> Found:
    return Found(label, score)


@worker
def find_twice(one: Found) -> dict[str, Any]:
    return {"labels": [one.label, one.label], "raw": b"x" * 100_000}


@worker
def hurry() -> dict[str, Any]:
    """Try to come before others."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return {"threads": os.environ["OMP_NUM_THREADS"], "nice": os.getpriority(os.PRIO_PROCESS, 0)}


@worker
def fail(words: str) -> int:
    raise ValueError(words)


@worker
def refuse(words: str) -> int:
    raise InvalidArgument(words)


@worker
def lie() -> int:
    return "no number"  # type: ignore[return-value]


@worker
def count(to: int, pause_s: float = 0.0) -> Iterator[int]:
    try:
        for number in range(to):
            yield number
            time.sleep(pause_s)
    finally:
        print("count has ended", flush=True)


@worker
def sums(parts: Iterator[bytes]) -> Iterator[int]:
    total = 0
    for part in parts:
        total += len(part)
        yield total


@worker
def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


@worker
def total(parts: Iterator[bytes]) -> int:
    return sum(map(len, parts))


@worker
def first(parts: Iterator[bytes]) -> bytes:
    return next(parts)


@worker
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@worker
def end(status: int) -> None:
    os._exit(status)


@worker
def take(mb: int) -> int:
    memory = mmap.mmap(-1, mb << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, mb << 20, 4096):
        memory[at] = 1
    return len(memory)


@worker
def facts() -> dict[str, Any]:
    """What a library looks at and does."""
    try:
        has_callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)() == 7
    except MemoryError:
        has_callback = False
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    return {"processors": len(os.sched_getaffinity(0)), "callback": has_callback}
