"""The rows `crash` and `crash-loop`, our side: a Primary that is killed under load, and a loop that dies on and on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.host import Host, is_active
from bench.row import Case, Sample
from tlsrt import AsyncClient, CallError

CALLERS = 8
TARGET, METHOD = "secondary/echo", "echo"
DYING = "third"


class Crashes:
    """Kills Primary once in each burst, while a client keeps calls under way.

    Each burst has a host of its own: one that has lost Primary before backs off longer and gives up in the end, and
    the keys of earlier bursts would fill the client's share of the answers that are remembered.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def burst(self, case: Case, seconds: float) -> Sample:
        self._host.start()
        try:
            pid = self._host.pids()["primary"]
            return asyncio.run(self._calls(pid, case.word("key") == "yes", seconds))
        finally:
            self._host.stop()

    async def _calls(self, pid: int, keyed: bool, seconds: float) -> Sample:
        words: Counter[str] = Counter()
        ends: list[float] = []
        async with AsyncClient(self._host.bundle) as client:
            over = time.perf_counter() + seconds

            async def keep_calling() -> None:
                while time.perf_counter() < over:
                    try:
                        await client.call(TARGET, METHOD, b"x" * 64, idempotent=keyed, timeout_s=10.0)
                    except CallError as error:
                        words[error.code] += 1
                    else:
                        words["ok"] += 1
                        ends.append(time.perf_counter())

            callers = [asyncio.ensure_future(keep_calling()) for _ in range(CALLERS)]
            await asyncio.sleep(seconds / 2)
            killed = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            await asyncio.gather(*callers)
        back = min((end for end in ends if end > killed + 0.001), default=float("nan"))
        known = {"ok", "outcome_unknown", "unavailable"}
        return {
            "ok": words["ok"], "outcome_unknown": words["outcome_unknown"], "unavailable": words["unavailable"],
            "other": sum(count for word, count in words.items() if word not in known),
            "back_ms": (back - killed) * 1000,
        }  # fmt: skip


@contextmanager
def open_crashes(folder: Path) -> Iterator[Crashes]:
    yield Crashes(Host(folder))


class CrashLoop:
    """Kills a loop as soon as it is active, again and again; each burst has a host that knows nothing of the last."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def burst(self, case: Case, seconds: float) -> Sample:
        self._host.start()
        try:
            over = time.perf_counter() + seconds
            spawns, longest, last = 0, 0.0, time.perf_counter()
            while time.perf_counter() < over:
                pid = self._host.pids()[DYING]
                self._host.forget()
                os.kill(pid, signal.SIGKILL)
                try:
                    active = self._host.wait_for(
                        lambda lines: is_active(DYING, lines), max(0.01, over - time.perf_counter())
                    )
                except RuntimeError:  # it waits longer than this burst, or has given up
                    longest = max(longest, time.perf_counter() - last)
                    break
                spawns, longest, last = spawns + 1, max(longest, active - last), active
        finally:
            self._host.stop()
        return {"spawns": spawns, "gap_ms": longest * 1000}


@contextmanager
def open_crash_loop(folder: Path) -> Iterator[CrashLoop]:
    yield CrashLoop(Host(folder))
