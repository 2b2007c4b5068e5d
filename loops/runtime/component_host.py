"""Component host: one component in its loop, with its endpoint, caller and responder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from tlsrt.channels.calls.batching import Batcher
from tlsrt.channels.calls.caller import Caller
from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.calls.jobs import JobCalls
from tlsrt.channels.control.health import Readiness
from tlsrt.channels.frames.frame import FROM_REQUESTER, Frame, Header
from tlsrt.channels.links.channel import FrameSender
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.endpoint import Endpoint, OpenedFrame
from tlsrt.channels.session.verifier import Verifier
from tlsrt.config.components import ComponentConfig
from tlsrt.config.programs import end_s_of
from tlsrt.config.secrets import Sealings
from tlsrt.errors import ConfigError, Unavailable
from tlsrt.loops.component.component import BUILTIN, Component, attach, detach, tasks_of
from tlsrt.loops.component.component_disk import close_database, open_database
from tlsrt.loops.component.grants import Grants
from tlsrt.loops.component.listeners import InheritedListeners
from tlsrt.loops.component.secrets import ComponentSecrets
from tlsrt.loops.component.tasks import STOP_S
from tlsrt.loops.component.work import Work
from tlsrt.loops.component.worker import begin_workers, end_workers
from tlsrt.loops.dispatch.call_figures import CallFigures
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.dispatch.responder import Responder
from tlsrt.loops.dispatch.traced_calls import TracedPort
from tlsrt.loops.dispatch.tracer import Tracer
from tlsrt.loops.runtime.jobs import ProcessJobs
from tlsrt.loops.runtime.programs import ProcessPrograms
from tlsrt.loops.runtime.timers import ComponentTimers, HostClock

_ENDED_S = 0.1  # for a task to return after the end of its program


class Failures(Protocol):
    """Ends the process of a component that cannot go on."""

    def component_failed(self, address: str, sentence: str) -> None: ...


class ComponentHost:
    """Runs one component. It is also the component's Port, by which it makes calls."""

    def __init__(
        self, config: ComponentConfig, component: Component, verifier: Verifier, channel: FrameSender,
        clock: Callable[[], int], state: Path, shares: ProcessorShares, *, waiting_max: int,
        batch: WriteBatch | None = None, work: Work | None = None, failures: Failures | None = None,
        sealings: Sealings = MappingProxyType({}), grants: Grants | None = None,
        programs: ProcessPrograms | None = None, listeners: InheritedListeners | None = None,
        jobs: ProcessJobs | None = None,
        is_measured: bool = False, tracer: Tracer | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.readiness = Readiness.UNASKED
        self._failures = failures
        self.component = component
        self.endpoint = Endpoint(config.address, verifier)
        batcher = Batcher(self.endpoint, channel.send, clock, batch) if batch is not None else None
        self.caller = Caller(self.endpoint, channel.send, clock, waiting_max=waiting_max, batcher=batcher)
        self._pending = self.caller.pending
        tracer = tracer or Tracer()
        self._traced = TracedPort(config.address, tracer)
        log = logging.getLogger(config.address)
        methods = {*component.__tlsrt_methods__, *BUILTIN}
        self.call_figures = CallFigures(methods) if is_measured else None
        self.responder = Responder(
            component, self.endpoint, channel, clock, log, shares, batcher, jobs, self.call_figures, tracer
        )  # fmt: skip
        self._jobs = jobs
        if jobs is not None:
            jobs.add(config.address, component, self.responder, log)
        asked = config.needs.secrets
        optional = [one.name for one in asked if one.optional]
        self.secrets = ComponentSecrets(config.address, [one.name for one in asked], sealings, optional)
        own = programs.of(config.address, log, self.secrets) if programs is not None else None
        attach(
            component, address=config.address, options=config.options, state=state, log=log, port=self, work=work,
            secrets=self.secrets, grants=grants, programs=own, listeners=listeners, jobs=JobCalls(self.caller, clock),
        )  # fmt: skip
        self.tasks = tasks_of(component)
        self.timers = ComponentTimers(component, state, log, HostClock())

    def on_frame_untrusted(self, frame: Frame, header: Header, now: int) -> None:
        """Take a frame whose header names this component; raise PeerError if it is not authentic."""
        self.on_opened_untrusted(self.endpoint.open_untrusted(frame, header, now))

    def on_opened_untrusted(self, opened: OpenedFrame) -> None:
        """Take an authentic frame; raise PeerError if it makes no sense."""
        if opened.header.kind in FROM_REQUESTER:
            self.responder.on_opened_untrusted(opened)
        else:
            self._pending.on_opened_untrusted(opened)

    def end_calls(self, ending: Ending) -> None:
        """End calls, its own and those to it: of sessions that are over, and all if it is itself blocked."""
        self._pending.end(ending)
        is_blocked = self.config.address in ending.subjects
        self.responder.end_calls(Ending(of_all=True) if is_blocked else ending)

    async def start(self) -> None:
        """Start the component. Raises what it raises, and ConfigError for a secret that is not there."""
        if self.secrets.is_of_another_key():  # the next process reads them anew, so this is tried again
            raise Unavailable("its secrets were sealed by another master_key than the one that is in force")
        if problem := self.secrets.problem():
            raise ConfigError(problem)
        await open_database(self.component, self.config.needs.state_mb << 20)
        await self.component.start()
        begin_workers(self.component)
        self.timers.start()
        self.responder.start()

    async def stop(self, timeout_s: float) -> None:
        """Finish what is in flight, then stop the component."""
        ends = [self.responder.close(timeout_s), self.timers.stop(timeout_s)]
        if self._jobs is not None:
            ends.append(self._jobs.stop(self.config.address, timeout_s))
        await asyncio.gather(*ends)
        detach(self.component)
        await self.tasks.stop(max(STOP_S, end_s_of(self.config.programs) + _ENDED_S))
        try:
            await self.component.stop()
        finally:
            await end_workers(self.component)
            await close_database(self.component)

    @property
    def is_quiet(self) -> bool:
        """Tell whether it has nothing that needs beats. Calls in flight do not: a frame of theirs ends the rest."""
        return not self.endpoint.is_retiring

    def note_ready(self, is_ready: bool) -> None:
        """Run requests while the component is ready, and none while it is not."""
        self.readiness = Readiness.READY if is_ready else Readiness.NOT_READY
        self.responder.set_ready(is_ready)

    def fail(self, sentence: str) -> None:
        """End the process: the component cannot go on."""
        if self._failures is not None:
            self._failures.component_failed(self.config.address, sentence)

    def call(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, timeout_s: float,
        idempotency_key: str | None, wait_s: float | None = None,
    ) -> Coroutine[Any, Any, Any]:  # fmt: skip
        call = self.caller.call
        if not self._traced.is_sampled:
            return call(
                target, method, args, kwargs, timeout_s=timeout_s, idempotency_key=idempotency_key, wait_s=wait_s
            )
        begin = partial(
            call, target, method, args, kwargs, timeout_s=timeout_s, idempotency_key=idempotency_key, wait_s=wait_s
        )
        return self._traced.call(target, method, begin)

    def stream(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, timeout_s: float
    ) -> AsyncIterator[Any]:
        return self._iterated(target, method, self.caller.stream(target, method, args, kwargs, timeout_s=timeout_s))

    def upload(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> Coroutine[Any, Any, Any]:  # fmt: skip
        upload = partial(self.caller.upload, target, method, parts, args, kwargs, timeout_s=timeout_s)
        return self._traced.call(target, method, upload) if self._traced.is_sampled else upload()

    def exchange(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> AsyncIterator[Any]:  # fmt: skip
        items = self.caller.exchange(target, method, parts, args, kwargs, timeout_s=timeout_s)
        return self._iterated(target, method, items)

    def _iterated(self, target: str, method: str, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return self._traced.items(target, method, items) if self._traced.is_sampled else items
