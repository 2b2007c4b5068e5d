"""The rows `call*`, our side: component -> gate -> component and back, measured inside the driver's own loop."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bench.call_peers import ANSWER_S, sample_of
from bench.host import ADDED, Host
from bench.processes import cpu_ns
from bench.programs import c_program
from bench.row import Case, Sample
from tlsrt import Client

ON_THE_PATH = ("primary", "secondary", "third")


class TlsrtCalls:
    """Asks the driver component over TLS for a burst; the driver measures."""

    def __init__(self, host: Host, client: Client, *, text: bool = False) -> None:
        self.host = host
        self._client = client
        self._named = {"text": True} if text else {}
        self._pids = host.pids()

    def burst(self, case: Case, seconds: float) -> Sample:
        before = cpu_ns(self._pids.values())
        result = self._client.call(
            "third/driver", "run", "secondary/echo", case.number("size"), case.number("outstanding"), seconds,
            timeout_s=seconds + ANSWER_S, **self._named,
        )  # fmt: skip
        return sample_of(result, cpu_ns(self._pids.values()) - before)

    def path_pids(self) -> list[int]:
        """The three processes that a call passes."""
        return [self._pids[name] for name in ON_THE_PATH]


@contextmanager
def running(
    folder: Path, more: Mapping[str, dict[str, Any]] | None = None, *, text: bool = False
) -> Iterator[TlsrtCalls]:
    host = Host(folder, more)
    host.start()
    try:
        with Client(host.bundle) as client:
            yield TlsrtCalls(host, client, text=text)
    finally:
        host.stop()


def open_tlsrt(folder: Path) -> AbstractContextManager[TlsrtCalls]:
    return running(folder)


def open_libzmq(folder: Path) -> AbstractContextManager[TlsrtCalls]:
    """A host whose loops speak to Primary through libzmq, not our own engine."""
    return running(folder, {"channels": {"engine": "libzmq"}})


def open_own(folder: Path) -> AbstractContextManager[TlsrtCalls]:
    """A host whose driver and echo have a process each, as packages have."""
    components = {name: {"class": component["class"]} for name, component in ADDED["components"].items()}
    return running(folder, {"components": components})


def open_program(folder: Path) -> AbstractContextManager[TlsrtCalls]:
    """A host whose echo is a program in C, which answers lines of JSON; bodies are text."""
    echo = {
        "kind": "program", "run": str(c_program("program_echo")),
        "offers": {"echo": {"says": "the same text", "arguments": {"data": "str"}, "returns": "str"}},
    }  # fmt: skip
    return running(folder, {"components": {**ADDED["components"], "secondary/echo": echo}}, text=True)


def open_placed(folder: Path) -> AbstractContextManager[TlsrtCalls]:
    """A host whose Primary, driver and echo are on one core: the operator's option `scheduling.cpus`."""
    return running(folder, {"scheduling": {"cpus": _on_first_core()}})


def open_real_time(folder: Path) -> AbstractContextManager[TlsrtCalls]:
    """The same under SCHED_RR: `scheduling.real_time`."""
    return running(folder, {"scheduling": {"cpus": _on_first_core(), "real_time": list(ON_THE_PATH)}})


def _on_first_core() -> dict[str, list[int]]:
    core = min(os.sched_getaffinity(0))
    return {loop: [core] for loop in ON_THE_PATH}
