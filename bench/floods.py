"""The row `flood`: what an innocent pair of loops notices of somebody who floods, beside the same pair left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.call_peers import ANSWER_S
from bench.host import Host
from bench.processes import child, module, python_environment
from bench.row import Case, Sample
from tlsrt import Client

INNOCENT, HIS_FRIEND, VICTIM = "forth/driver", "external/echo", "secondary/echo"
SIZE = 64
BEFORE_S = 0.3  # so long the flood rises before the pair is measured
MORE: dict[str, dict[str, Any]] = {
    "components": {
        INNOCENT: {"class": "tlsrt_bench:Driver", "process": "shared"},
        HIS_FRIEND: {"class": "tlsrt_bench:Echo", "process": "shared"},
        "third/driver": {"class": "tlsrt_bench:Driver", "process": "shared"},
        VICTIM: {"class": "tlsrt_bench:Echo", "process": "shared"},
    },
    "policy": {
        "client/admin -> third/driver": "*",
        f"client/admin -> {INNOCENT}": "*",
        f"client/admin -> {VICTIM}": ["echo"],
        f"third/driver -> {VICTIM}": ["echo"],
        f"third/driver -> {HIS_FRIEND}": ["echo"],
        f"{INNOCENT} -> {HIS_FRIEND}": ["echo"],
    },
    "door": {"max_connections": 512, "max_connections_per_client": 512, "max_unauthenticated_per_address": 64},
}


class Floods:
    """A host with an innocent pair; `flooded` says whether anybody floods beside it."""

    def __init__(self, host: Host, folder: Path, *, flooded: bool) -> None:
        self._host = host
        self._errors = folder / "flooder"
        self._flooded = flooded
        self._client = Client(host.bundle)
        self._other = Client(host.bundle)

    def burst(self, case: Case, seconds: float) -> Sample:
        with ExitStack() as stack:
            if self._flooded:
                stack.enter_context(self._flood(case, BEFORE_S + seconds))
                threading.Event().wait(BEFORE_S)
            result = self._client.call(
                INNOCENT, "run", HIS_FRIEND, SIZE, case.number("outstanding"), seconds, timeout_s=seconds + ANSWER_S
            )
        return {"rate": result["count"] / result["seconds"], "p50_us": result["p50_us"], "p99_us": result["p99_us"]}

    @contextmanager
    def _flood(self, case: Case, seconds: float) -> Iterator[None]:
        if case.number("sessions"):
            argv = module(
                "bench.flooder", str(self._host.bundle), VICTIM, str(case.number("sessions")), str(case.number("each"))
            )
            with child(argv, listen=True, errors=self._errors, env=python_environment()) as process:
                assert process.stdout is not None
                if process.stdout.readline() != b"up\n":
                    raise RuntimeError(f"the flooder does not start: {self._errors.read_text()[-300:]}")
                yield
            return
        flood = threading.Thread(
            target=self._other.call,
            args=("third/driver", "flood", case.word("target"), SIZE, case.number("each"), seconds),
            kwargs={"timeout_s": seconds + ANSWER_S},
        )
        flood.start()
        yield
        flood.join()

    def close(self) -> None:
        self._client.close()
        self._other.close()


def open_floods(*, flooded: bool) -> Callable[[Path], AbstractContextManager[Floods]]:
    """Return what opens a host; each contender has one of its own."""

    @contextmanager
    def opened(folder: Path) -> Iterator[Floods]:
        host = Host(folder, MORE)
        host.start()
        floods = Floods(host, folder, flooded=flooded)
        try:
            yield floods
        finally:
            floods.close()
            host.stop()

    return opened
