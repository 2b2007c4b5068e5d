"""The row `tls-memory`: what a connection costs its server, silent or idle after its handshake."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.door import TlsrtDoor, bundle_files
from bench.host import Host, free_port
from bench.processes import memory_kib, tree, wait_until
from bench.programs import c_program
from bench.row import Case, Sample
from bench.tls import Place, Start, listens, load_client, make_files
from tlsrt.channels.tls.message_stream import PROTOCOL
from tlsrt.config.bundle import read_bundle

CONNECTIONS = 500
UNKNOWN = {
    "max_unauthenticated": 2000, "max_unauthenticated_per_address": 2000, "handshake_timeout_s": 60,
    "first_flight_timeout_s": 60, "max_connections_per_client": 1024,
}  # fmt: skip


def pss_kib(pids: Collection[int]) -> int:
    return sum(memory_kib(pid)[0] for pid in pids)


def accepted(pids: Collection[int]) -> int:
    """Return how many descriptors the server has open, of which accepted sockets are the most."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


@contextmanager
def silent(port: int, pids: Collection[int]) -> Iterator[None]:
    """Keep connections that say nothing, all of them accepted."""
    before = accepted(pids)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        wait_until(lambda: accepted(pids) >= before + CONNECTIONS, "having accepted")
        yield


class Fresh:
    """A server that is started anew for each burst: memory that was used once does not come back."""

    def __init__(self, start: Start, protocol: str, alpn: str) -> None:
        self._start = start
        self._protocol = protocol
        self._alpn = alpn

    def burst(self, case: Case, seconds: float) -> Sample:
        with TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            place = Place(folder, make_files(folder), free_port(), free_port())
            processes = self._start(place, stack)
            wait_until(lambda: listens(place.port) and listens(place.mutual_port), "listening")
            pids = [pid for process in processes for pid in tree(process.pid)]
            load = stack.enter_context(load_client(place.port, self._protocol, place.errors, self._alpn))
            load.open(4)  # what the first connections bring once is not theirs
            before = pss_kib(pids)
            if case.word("does") == "silent":
                stack.enter_context(silent(place.port, pids))
            else:
                load.open(4 + CONNECTIONS)
            return {"kib": (pss_kib(pids) - before) / CONNECTIONS}


def opened(start: Start, protocol: str, alpn: str = "") -> Callable[[Path], AbstractContextManager[Fresh]]:
    @contextmanager
    def open_fresh(folder: Path) -> Iterator[Fresh]:
        c_program("tls_load")
        yield Fresh(start, protocol, alpn)

    return open_fresh


class FreshDoor:
    """The same with a whole host: an idle connection has a session."""

    def burst(self, case: Case, seconds: float) -> Sample:
        with TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            host = Host(folder, {"door": UNKNOWN})
            host.start()
            stack.callback(host.stop)
            files = bundle_files(read_bundle(host.bundle), folder)
            load = stack.enter_context(load_client(host.port, "tlsrt", folder / "errors", PROTOCOL, files))
            door = TlsrtDoor(host, load)
            door.open(4)
            pids = list(host.pids().values())
            before = pss_kib(pids)
            if case.word("does") == "silent":
                stack.enter_context(silent(host.port, pids))
            else:
                door.open(4 + CONNECTIONS)
            return {"kib": (pss_kib(pids) - before) / CONNECTIONS}


@contextmanager
def open_door(folder: Path) -> Iterator[FreshDoor]:
    c_program("tls_load")
    yield FreshDoor()
