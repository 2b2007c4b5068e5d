"""The supervisor's side of the metrics process: the socket that listens, and figures when they are asked for.

A captured one can ask without end: it is answered about twice a second, and one that asks while it waits is killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from tlsrt.channels.control.metrics import METRICS
from tlsrt.config.metrics import MonitoringPlace
from tlsrt.config.schema import Config
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.children import Child, Children, HelperStart
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.memfd import new_page, sealed_memory
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.service_process import ServiceProcess

NAME = "metrics"
LEAST_S = 0.5  # between two answers


class Figures(Protocol):
    """What is told when it asks."""

    def encoded(self, asker: ServiceProcess) -> bytes:
        """Return all figures as JSON."""


class MetricsProcess(ServiceProcess):
    """The one process that serves metrics, over all its incarnations. The supervisor keeps the socket that listens."""

    def __init__(
        self, context: Context, loops: Loops, figures: Figures, place: MonitoringPlace | None, listener: int
    ) -> None:
        super().__init__(context, NAME, METRICS)
        self._loops = loops
        self._pages: dict[str, int] = {}  # process -> its page, for reading only
        self._figures = figures
        self._place = place
        self._listener = listener
        self._told_at = -LEAST_S
        self._answer: Timer | None = None  # one is due

    def is_needed(self, config: Config) -> bool:
        return self._listener >= 0

    def fork(self, children: Children, start: HelperStart) -> Child:
        return children.spawn_helper(replace(start, name=NAME))

    def _ready(self) -> None:
        super()._ready()
        is_tcp = self._place is not None and not self._place.path
        self._send("listen", int(is_tcp), descriptor=self._listener)
        for process, page in self._pages.items():
            self._send("page", process, descriptor=page)

    def loop_active(self, loop: Loop) -> None:
        """Hand a process that serves a page to write its figures to, and the same page to who reads it."""
        if self._listener < 0:
            return
        try:
            writable, readable = new_page()
        except OSError as error:
            self._context.console.warning(NAME, f"has no figures of {loop.name}: {error.strerror}")
            return
        self._loops.tell(loop, "figures", descriptors=(writable,))
        os.close(writable)
        self._forget(loop.name)
        self._pages[loop.name] = readable
        self._send("page", loop.name, descriptor=readable)

    def loop_changed(self, loop: Loop) -> None:
        if not loop.is_living:
            self._forget(loop.name)

    def _forget(self, process: str) -> None:
        if process in self._pages:
            os.close(self._pages.pop(process))
            self._send("page_gone", process)

    def take(self, name: str, message: Any, descriptors: list[int]) -> None:
        if self._answer is not None:
            raise PeerError("hurried")
        wait_s = max(0.0, self._told_at + LEAST_S - self._context.event_loop.now)
        self._answer = self._context.event_loop.call_later(wait_s, self._teller(message.number))

    def _teller(self, number: int) -> Callable[[], None]:
        def tell() -> None:
            self._answer = None
            self._told_at = self._context.event_loop.now
            try:
                descriptor = sealed_memory(self._figures.encoded(self), "figures")
            except OSError:  # no memory or no descriptor, now: it waits, and says so to who asks it
                self._answer = self._context.event_loop.call_later(LEAST_S, tell)
                return
            try:
                self._send("figures", number, descriptor=descriptor)
            finally:
                os.close(descriptor)

        return tell

    def _send(self, name: str, *fields: int | str, descriptor: int | None = None) -> None:
        if self._channel is None or not self.is_attested:
            return
        try:
            self._channel.send(name, *fields, descriptors=() if descriptor is None else (descriptor,))
        except PeerError as error:
            self.kill(f"does not read its channel: {error.reason}")

    def lost(self) -> None:
        if self._answer is not None:
            self._answer.cancel()
            self._answer = None
