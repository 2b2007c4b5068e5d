"""The row `gate`: what one message costs in our gate, in two bare AEAD calls, and in a naive gate. All in process.

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
from tlsrt.channels.frames.frame import correlation
from tlsrt.loops.gate.state import GateVerdict, Origin

if TYPE_CHECKING:
    from fakes.memory_host import MemoryHost

TESTS = Path(__file__).resolve().parent.parent / "tests"
CONSOLE, STORE = "third/console", "secondary/store"
NOW = 1_000_000  # BOOTTIME of the world, ms
BATCH_BYTES = 8 << 20
Work = tuple[bytes, Origin]
HEADER = bytes(160)  # as long as header and token lengths that are authenticated with a body


class Timed(ABC):
    """Makes frames without a clock, passes them with one, until the time is used up."""

    batch_max = 1000  # frames made at a time

    @abstractmethod
    def prepare(self, size: int, count: int, joined: int) -> Callable[[], None]:
        """Return what passes `count` fresh frames of `size` bytes, or messages, so many in one frame."""

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
    """The gate of tests/fakes/memory_host.py: an authority, keys and endpoints without processes."""

    def __init__(self, world: MemoryHost) -> None:
        self._world = world

    def prepare(self, size: int, count: int, joined: int) -> Callable[[], None]:
        return self.passing(self.work(size, count, joined))

    def work(self, size: int, count: int, joined: int) -> list[Work]:
        """Return frames with their origins: requests and the replies to them in turn, so many in each."""
        world = self._world
        body = os.urandom(size)
        made: list[Work] = []
        for _ in range(count // 2 // joined):
            for frame, subject in zip(self._exchange(body, joined), (CONSOLE, STORE), strict=True):
                made.append((frame, world.origin(subject)))
        return made

    def _exchange(self, body: bytes, count: int) -> tuple[bytes, bytes]:
        """Return a request and its reply; if count is more than one, bundles of so many."""
        world = self._world
        caller, replier = world.endpoints[CONSOLE], world.endpoints[STORE]
        numbers = [caller.take_number(), *(caller.take_next_number() for _ in range(count - 1))]
        taken, bodies = range(numbers[0], numbers[-1] + 1), [body] * count
        request = caller.seal_requests(taken, STORE, "get", bodies, NOW + 10_000, world.epoch, caller.session)
        header = world.header(request)
        names = [correlation(header.session, number) for number in taken]
        return request, replier.seal_replies(header, names, bodies, NOW + 10_000)

    def passing(self, work: list[Work]) -> Callable[[], None]:
        """Return what passes these frames."""
        check = self._world.gate.check_untrusted
        refused: list[GateVerdict] = []

        def run() -> None:
            for frame, origin in work:
                verdict = check(frame, origin, NOW)
                if verdict.reason:
                    refused.append(verdict)
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
    from fakes.memory_host import MemoryHost

    world = MemoryHost(now=NOW)
    yield OurGate(world)


@contextmanager
def open_bare(folder: Path) -> Iterator[BareAead]:
    yield BareAead()


@contextmanager
def open_naive(folder: Path) -> Iterator[Naive]:
    yield Naive()
