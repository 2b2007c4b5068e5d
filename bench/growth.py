"""The rows `growth-*`: ourselves, larger: more sessions at the door, more loops on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bench.calls import TlsrtCalls, running
from bench.door import TlsrtDoor, bundle_files
from bench.host import LOOPS, Host
from bench.programs import c_program
from bench.row import Case, CaseMissing, Sample
from bench.tls import load_client
from tlsrt.channels.tls.message_stream import PROTOCOL
from tlsrt.config.bundle import read_bundle


class ManySessions:
    """So many sessions, all of which take their turn; as many requests under way as the case says."""

    def __init__(self, door: TlsrtDoor, count: int) -> None:
        self._door = door
        self._count = count

    def burst(self, case: Case, seconds: float) -> Sample:
        window = case.number("window")
        if window > self._count:
            raise CaseMissing("")  # a session of this row has one request under way at most
        return self._door.replay(self._count, window, case.number("size"), seconds)


def open_sessions(count: int) -> Callable[[Path], AbstractContextManager[ManySessions]]:
    """Return what opens a host with so many sessions at its door."""

    @contextmanager
    def opened(folder: Path) -> Iterator[ManySessions]:
        c_program("tls_load")
        host = Host(
            folder,
            {
                "door": {
                    "max_connections": 2 * count + 16,
                    "max_connections_per_client": 2 * count + 16,
                    "max_unauthenticated_per_address": 64,
                    "connections_per_address_s": 1000.0,
                }
            },
        )
        host.start()
        try:
            files = bundle_files(read_bundle(host.bundle), folder)
            with load_client(host.port, "tlsrt", folder / "errors", PROTOCOL, files) as load:
                door = TlsrtDoor(host, load)
                door.open(count)
                yield ManySessions(door, count)
        finally:
            host.stop()

    return opened


def _more_loops(count: int) -> dict[str, dict[str, Any]]:
    """Return the configuration of so many loops in all; each new one has an echo that the driver may call."""
    names = [f"more{number}" for number in range(count - len(LOOPS))]
    return {
        "loops": {name: {} for name in names},
        "components": {f"{name}/echo": {"class": "tlsrt_bench:Echo", "process": "shared"} for name in names},
        "policy": {f"third/driver -> {name}/echo": ["echo"] for name in names},
    }


def open_loops(count: int) -> Callable[[Path], AbstractContextManager[TlsrtCalls]]:
    """Return what opens a host with so many loops, of which two call each other."""

    def opened(folder: Path) -> AbstractContextManager[TlsrtCalls]:
        return running(folder, _more_loops(count) if count > len(LOOPS) else None)

    return opened
