"""The row `memory`: PSS and USS of every process of a host that has answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.host import Host
from bench.processes import memory_kib
from bench.row import Case, Sample
from tlsrt import Client

CALLS = (
    ("primary/kernel", "uname"), ("secondary/store", "keys"), ("third/driver", "ping"), ("forth/power", "status"),
    ("external/network", "interfaces"),
)  # fmt: skip


class Memory:
    """Reads smaps_rollup of the processes, by name."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids

    def burst(self, case: Case, seconds: float) -> Sample:
        name = case.word("process")
        wanted = self._pids.values() if name == "total" else [self._pids[name]]
        pairs = [memory_kib(pid) for pid in wanted]
        return {"pss_mib": sum(pss for pss, _ in pairs) / 1024, "uss_mib": sum(uss for _, uss in pairs) / 1024}


@contextmanager
def open_tlsrt(folder: Path) -> Iterator[Memory]:
    host = Host(folder)
    host.start()
    try:
        with Client(host.bundle) as client:
            for target, method in CALLS:
                client.call(target, method)
            yield Memory(host.pids())
    finally:
        host.stop()
