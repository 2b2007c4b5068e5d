"""The rows `call*`, our side: component -> gate -> component and back, measured inside the driver's own loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.call_peers import ANSWER_S, on_one_core, sample_of
from bench.host import Host
from bench.processes import cpu_ns, threads
from bench.row import Case, PeerMissing, Sample
from tlsrt import Client

ON_THE_PATH = ("primary", "secondary", "third")
PRIORITY = 10


class TlsrtCalls:
    """Asks the driver component over TLS for a burst; the driver measures."""

    def __init__(self, host: Host, client: Client) -> None:
        self.host = host
        self._client = client
        self._pids = host.pids()

    def burst(self, case: Case, seconds: float) -> Sample:
        before = cpu_ns(self._pids.values())
        result = self._client.call(
            "third/driver", "run", "secondary/echo", case.number("size"), case.number("outstanding"), seconds,
            timeout_s=seconds + ANSWER_S,
        )  # fmt: skip
        return sample_of(result, cpu_ns(self._pids.values()) - before)

    def path_pids(self) -> list[int]:
        """The three processes that a call passes."""
        return [self._pids[name] for name in ON_THE_PATH]


@contextmanager
def open_tlsrt(folder: Path) -> Iterator[TlsrtCalls]:
    host = Host(folder)
    host.start()
    try:
        with Client(host.bundle) as client:
            yield TlsrtCalls(host, client)
    finally:
        host.stop()


def real_time(pids: list[int]) -> None:
    """Put all threads of these processes under SCHED_RR; what they fork is not: sched(7)."""
    for thread in threads(pids):
        try:
            os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
        except PermissionError:
            raise PeerMissing("SCHED_RR needs CAP_SYS_NICE: run as root") from None


def open_placed(*, rr: bool) -> Callable[[Path], AbstractContextManager[TlsrtCalls]]:
    """Return what opens a host whose Primary, driver and echo are on one core, and under SCHED_RR if asked."""

    @contextmanager
    def opened(folder: Path) -> Iterator[TlsrtCalls]:
        with open_tlsrt(folder) as calls:
            on_one_core(calls.path_pids())
            if rr:
                real_time(calls.path_pids())
            yield calls

    return opened
