"""The metrics process: answers `GET /metrics`, `/livez` and `/readyz` on a socket that it is handed.

It asks the supervisor for figures when they are wanted and those it has are a second old: without a request
nothing is done, and under a flood the supervisor is asked once a second. Whether it answers is what `/livez` tells.
Requests of anyone on this host are parsed here and nowhere else: in a process with a uid of its own, without key,
capability, file or network, which can make no socket.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable

from tlsrt.channels.control.figures import PAGE_HEAD, decode_page_untrusted, page_length_untrusted
from tlsrt.channels.control.metrics import METRICS
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.config.processes import DOOR_PROCESS
from tlsrt.errors import PeerError
from tlsrt.supervisor.metrics.connections import Connection, Connections
from tlsrt.supervisor.metrics.exposition import OPENMETRICS, PROMETHEUS, exposition
from tlsrt.supervisor.metrics.families import Source
from tlsrt.supervisor.metrics.samples import Row, decode_untrusted
from tlsrt.supervisor.process.service_main import run_service

FRESH_S = 1.0  # for so long figures are good
ANSWER_S = 2.0  # for the supervisor
_FIGURES_MOST = 8 << 20
_TRIES = 3  # to read a page that its writer is changing
_SOURCES = {"primary": Source.PRIMARY, DOOR_PROCESS: Source.DOOR}
_OK, _UNAVAILABLE, _NOT_FOUND = "200 OK", "503 Service Unavailable", "404 Not Found"
SILENT = "the supervisor does not answer\n"
PATHS = ("/metrics", "/livez", "/readyz")


class Metrics:
    """Serves what it knows; `clock` is in seconds of any steady clock."""

    def __init__(self, channel: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._supervisor = ControlChannel(channel, METRICS)
        self._clock = clock
        self._epoll = select.epoll()
        self._connections: Connections | None = None
        self._waiting: list[Connection] = []  # for figures of the supervisor
        self._pages: dict[str, int] = {}
        self._number = 0
        self._asked_at: float | None = None  # of a question on its way
        self._told_at = -FRESH_S
        self._is_ready, self._why = False, "starting"
        self._rows: list[Row] = []
        self._texts: dict[bool, bytes] = {}  # by whether it is OpenMetrics
        self._statuses: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def run(self) -> int:
        """Serve until the supervisor closes the channel; return the exit code."""
        self._supervisor.send("sealed")
        self._epoll.register(self._supervisor.fileno(), select.EPOLLIN)
        while True:
            for descriptor, events in self._epoll.poll(self._timeout_s()):
                if descriptor == self._supervisor.fileno():
                    self._hear()
                elif self._connections is not None and self._connections.owns(descriptor):
                    self._connections.ready(descriptor, events)
            if self._connections is not None:
                self._connections.end_late()
            if self._waiting and self._asked_at is not None and self._clock() >= self._asked_at + ANSWER_S:
                self._answer_waiting(is_known=False)

    def _timeout_s(self) -> float | None:
        ends = [self._connections.next_end() if self._connections is not None else None]
        ends.append(self._asked_at + ANSWER_S if self._waiting and self._asked_at is not None else None)
        first = min((end for end in ends if end is not None), default=None)
        return None if first is None else max(0.0, first - self._clock()) + 0.001

    # The supervisor

    def _hear(self) -> None:
        while (received := self._supervisor.receive("supervisor", "sealed", descriptors=True)) is not None:
            name, message, descriptors = received
            if name == "listen":
                listener = socket.socket(fileno=descriptors[0])
                self._connections = Connections(
                    self._epoll, listener, self._requested, self._clock, is_tcp=bool(message.is_tcp)
                )  # fmt: skip
            elif name == "figures":
                self._told(descriptors[0])
            elif name == "page":
                self._forget(message.process)
                self._pages[message.process] = descriptors[0]
            elif name == "page_gone":
                self._forget(message.process)

    def _forget(self, process: str) -> None:
        if process in self._pages:
            os.close(self._pages.pop(process))

    def _ask(self) -> None:
        if self._asked_at is None:
            self._number += 1
            self._asked_at = self._clock()
            self._supervisor.send("ask", self._number)

    def _told(self, descriptor: int) -> None:
        try:
            tree = json.loads(os.pread(descriptor, _FIGURES_MOST, 0))
        finally:
            os.close(descriptor)
        self._asked_at, self._told_at = None, self._clock()
        self._is_ready, self._why = bool(tree["ready"]), str(tree["why"])
        self._rows, _ = decode_untrusted(json.dumps(tree["figures"]).encode(), Source.SUPERVISOR)
        self._texts.clear()
        self._answer_waiting(is_known=True)

    # Requests

    def _requested(self, connection: Connection) -> None:
        request = connection.request
        assert request is not None
        if request.path not in PATHS:
            self._send(connection, _NOT_FOUND, f"there are {', '.join(PATHS)}\n")
        elif self._clock() < self._told_at + FRESH_S:
            self._answer(connection)
        else:
            self._waiting = [*(one for one in self._waiting if one.is_open), connection]
            self._ask()

    def _answer_waiting(self, *, is_known: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            if is_known:
                self._answer(connection)
            else:
                self._send(connection, _UNAVAILABLE, SILENT)

    def _answer(self, connection: Connection) -> None:
        assert connection.request is not None
        if connection.request.path == "/livez":
            self._send(connection, _OK, "ok\n")
        elif connection.request.path == "/readyz":
            self._send(connection, _OK if self._is_ready else _UNAVAILABLE, f"{self._why}\n")
        else:
            is_openmetrics = connection.request.is_openmetrics
            self._send(connection, _OK, self._text(is_openmetrics), OPENMETRICS if is_openmetrics else PROMETHEUS)

    def _send(self, connection: Connection, status: str, body: str | bytes, kind: str = PROMETHEUS) -> None:
        assert self._connections is not None
        self._statuses[status[:3]] += 1
        self._connections.send(connection, status, body, kind)

    def _text(self, is_openmetrics: bool) -> bytes:
        """Return the text for all who ask within a second: made once."""
        if is_openmetrics not in self._texts:
            rows = [*self._rows, *self._page_rows(), *self._own_rows()]
            self._texts[is_openmetrics] = exposition(rows, is_openmetrics=is_openmetrics)
        return self._texts[is_openmetrics]

    def _page_rows(self) -> list[Row]:
        rows: list[Row] = []
        for process, descriptor in self._pages.items():
            source = _SOURCES.get(process, Source.PROCESS)
            try:
                data = read_page_untrusted(descriptor)
                found, refused = decode_untrusted(data, source, process) if data else ([], 0)
            except PeerError:
                found, refused = [], 1
            rows += found
            self._refused[process] += refused
        return rows

    def _own_rows(self) -> list[Row]:
        dropped = self._connections.dropped if self._connections is not None else 0
        return [
            *(("tlsrt_metrics_requests", (status,), count) for status, count in self._statuses.items()),
            ("tlsrt_metrics_dropped_connections", (), dropped),
            *(("tlsrt_metrics_refused_figures", (process,), count) for process, count in self._refused.items()),
        ]


def read_page_untrusted(descriptor: int) -> bytes:
    """Return what a page of a process holds. Raises PeerError for one that is not whole, or cannot be read."""
    for _ in range(_TRIES - 1):
        try:
            return decode_page_untrusted(_page(descriptor))
        except PeerError:
            continue
    return decode_page_untrusted(_page(descriptor))


def _page(descriptor: int) -> bytes:
    try:
        return os.pread(descriptor, page_length_untrusted(os.pread(descriptor, PAGE_HEAD, 0)), 0)
    except OSError:
        raise PeerError("unreadable") from None


def metrics_main(channel: int) -> int:
    """Run the body of the forked, confined process; return its exit code. `channel` is owned from here on."""
    return run_service("metrics", lambda: Metrics(channel).run())
