"""The row `gate`: what one frame costs in our gate, in two bare AEAD calls, and in a naive gate. All in process.

The frames are sealed before the clock starts: requests of third/console and replies of secondary/store in turn, so
that calls open and close as they do in a host.
"""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.naive_gate import NaiveGate
from bench.row import Case, Sample
from tlsrt.channels.frame import Kind, correlation, join_messages, split_message_untrusted
from tlsrt.loops.gate import Origin, Verdict

if TYPE_CHECKING:
    from support.world import World

TESTS = Path(__file__).resolve().parent.parent / "tests"
CONSOLE, STORE = "third/console", "secondary/store"
NOW = 1_000_000  # BOOTTIME of the world, ms
BATCH_BYTES = 8 << 20
HEADER = bytes(160)  # as long as header and token lengths that are authenticated with a body


class Timed(ABC):
    """Makes frames without a clock, passes them with one, until the time is used up."""

    batch_max = 1000  # frames made at a time

    @abstractmethod
    def prepare(self, size: int, count: int, joined: int) -> Callable[[], None]:
        """Return what passes `count` fresh frames of `size` bytes, so many of them joined in one message."""

    def burst(self, case: Case, seconds: float) -> Sample:
        size, joined = case.number("size"), case.number("joined")
        count = max(10, min(self.batch_max, BATCH_BYTES // (size + 600))) // (2 * joined) * 2 * joined
        wall = cpu = frames = 0
        while wall < seconds * 1e9:
            run = self.prepare(size, count, joined)
            begin, used = time.perf_counter_ns(), time.process_time_ns()
            run()
            cpu += time.process_time_ns() - used
            wall += time.perf_counter_ns() - begin
            frames += count
        return {"ns": wall / frames, "cpu_ns": cpu / frames}


class OurGate(Timed):
    """The gate of tests/support/world.py: an authority, keys and endpoints without processes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def prepare(self, size: int, count: int, joined: int) -> Callable[[], None]:
        world = self._world
        body = os.urandom(size)
        work: list[tuple[list[bytes], str]] = []
        for _ in range(count // 2 // joined):
            requests, replies = self._exchange(body, joined)
            work += [(requests, CONSOLE), (replies, STORE)]
        if joined > 1:
            return self._joined([(join_messages(frames)[0], world.origin(subject)) for frames, subject in work])
        return self._single([(frames[0], world.origin(subject)) for frames, subject in work])

    def _exchange(self, body: bytes, count: int) -> tuple[list[bytes], list[bytes]]:
        """Return so many requests, and the reply to each."""
        world = self._world
        requests = [world.request(CONSOLE, STORE, "get", body) for _ in range(count)]
        headers = [world.header(request) for request in requests]
        replies = [
            world.endpoints[STORE].seal_reply(
                Kind.REPLY, header, body, NOW + 10_000, correlation=correlation(header.session, header.seq)
            )
            for header in headers
        ]
        return requests, replies

    def _single(self, work: list[tuple[bytes, Origin]]) -> Callable[[], None]:
        check = self._world.gate.check_untrusted
        refused: list[Verdict] = []

        def run() -> None:
            for frame, origin in work:
                verdict = check(frame, origin, NOW)
                if verdict.reason:
                    refused.append(verdict)
            assert not refused, refused[0].reason

        return run

    def _joined(self, work: list[tuple[bytes, Origin]]) -> Callable[[], None]:
        """Messages of several frames: split, each checked by itself, joined again for where they go."""
        check = self._world.gate.check_untrusted
        refused: list[Verdict] = []

        def run() -> None:
            for message, origin in work:
                passed: list[bytes] = []
                for frame in split_message_untrusted(message):
                    verdict = check(frame, origin, NOW)
                    if verdict.reason:
                        refused.append(verdict)
                    passed.append(frame)
                join_messages(passed)
            assert not refused, refused[0].reason

        return run


class BareAead(Timed):
    """One open and one seal of the body, key objects reused."""

    def __init__(self) -> None:
        self._key = AESGCM(AESGCM.generate_key(256))

    def prepare(self, size: int, count: int, joined: int) -> Callable[[], None]:
        seal, unseal = self._key.encrypt, self._key.decrypt
        sealed = [(nonce, seal(nonce, os.urandom(size), HEADER)) for nonce in (os.urandom(12) for _ in range(count))]

        def run() -> None:
            for nonce, data in sealed:
                seal(nonce, unseal(nonce, data, HEADER), HEADER)

        return run


class Naive(Timed):
    """Every frame through the naive gate."""

    batch_max = 100

    def __init__(self) -> None:
        self._gate = NaiveGate()

    def prepare(self, size: int, count: int, joined: int) -> Callable[[], None]:
        frames = [self._gate.frame(os.urandom(size), NOW) for _ in range(count)]
        check = self._gate.check

        def run() -> None:
            for frame in frames:
                check(frame, NOW)

        return run


@contextmanager
def open_gate(folder: Path) -> Iterator[OurGate]:
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from support.world import World

    world = World(now=NOW)
    yield OurGate(world)


@contextmanager
def open_bare(folder: Path) -> Iterator[BareAead]:
    yield BareAead()


@contextmanager
def open_naive(folder: Path) -> Iterator[Naive]:
    yield Naive()
