"""Figures of a process for the host's metrics, written into a page of memory that the metrics process reads.

The supervisor makes the page and hands it to both; it reads nothing of it. It is written with every second beat, or
with each of a process that rests, if anything has changed, so that no request for metrics wakes a loop.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from tlsrt.channels.control.figures import PAGE_BYTES, encode_page
from tlsrt.errors import one_line
from tlsrt.loops.component.metrics import metrics_of
from tlsrt.loops.dispatch.tracer import Tracer
from tlsrt.loops.runtime.component_host import ComponentHost

BEATS = 2
_ROOM = PAGE_BYTES - 64
Line = tuple[str, Sequence[str], float | Sequence[float]]  # family, labels behind the one of the process, value


class ProcessFigures:
    """Writes what the components of a process count, and what its role adds."""

    def __init__(
        self, hosts: Mapping[str, ComponentHost], more: Callable[[], Iterator[Line]], log: logging.Logger,
        tracer: Tracer,
    ) -> None:  # fmt: skip
        self._hosts = hosts
        self._tracer = tracer
        self._more = more
        self._log = log
        self._has_failed = False
        self._page = -1
        self._beats = 0
        self._written = b""

    def page_came(self, page: int) -> None:
        """Write to this page from now on, which is ours from here on."""
        if self._page >= 0:
            os.close(self._page)
        self._page, self._written = page, b""

    def each_beat(self, *, is_rare: bool) -> None:
        """Write, if it is time and there is something new. What cannot be written stops no beat."""
        self._beats += 1
        if self._page < 0 or (self._beats % BEATS and not is_rare):
            return
        try:
            data = self.encoded()
            if data != self._written:
                os.pwrite(self._page, encode_page(data), 0)
                self._written = data
        except (TypeError, ValueError, OSError) as error:
            if not self._has_failed:
                self._log.warning("cannot write figures for metrics: %s", one_line(error))
            self._has_failed = True

    def encoded(self) -> bytes:
        """Return all of it as JSON; where the page has no room for all, without histograms, or without the rest."""
        more = [*self._more(), *self._tracer.figures()]
        lines = [*more, *(line for host in self._hosts.values() for line in lines_of(host))]
        data = _encoded(lines)
        if len(data) > _ROOM:
            data = _encoded([line for line in lines if line[0] != "tlsrt_call_duration_seconds"])
        return data if len(data) <= _ROOM else _encoded(more)


def _encoded(lines: Sequence[Line]) -> bytes:
    tree: dict[str, list[tuple[Sequence[str], float | Sequence[float]]]] = {}
    for family, labels, value in lines:
        tree.setdefault(family, []).append((labels, value))
    return json.dumps(tree, separators=(",", ":")).encode()


def lines_of(host: ComponentHost) -> Iterator[Line]:
    """Return what is counted of a component, and what it counts itself."""
    name = host.config.name
    if host.call_figures is not None:
        for method, good, errors, histogram in host.call_figures.rows():
            yield "tlsrt_calls", [name, method, "result"], good
            yield "tlsrt_calls", [name, method, "error"], errors
            yield "tlsrt_call_duration_seconds", [name, method], histogram
    yield "tlsrt_component_calls_in_flight", [name], host.responder.running
    figures = metrics_of(host.component).document()
    for figure, value in figures["counters"].items():
        yield "tlsrt_component_counted", [name, figure], value
    for figure, value in figures["gauges"].items():
        yield "tlsrt_component_value", [name, figure], value
    for figure, times in figures["times"].items():
        yield "tlsrt_component_time_seconds", [name, figure], [times["count"], round(times["total_s"], 6)]
        yield "tlsrt_component_longest_time_seconds", [name, figure], round(times["max_s"], 6)
