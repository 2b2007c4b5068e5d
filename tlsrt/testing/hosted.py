"""A component between its attachment and its end, at its end of a conversation. asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tlsrt.errors import CallError, Failed, TlsrtError
from tlsrt.loops.component.component import Component, attach, detach, tasks_of
from tlsrt.loops.component.component_disk import close_database, open_database
from tlsrt.loops.component.grants import Grants
from tlsrt.loops.component.program import ProgramRunner
from tlsrt.loops.component.secrets import ComponentSecrets
from tlsrt.loops.component.work import Work
from tlsrt.loops.component.worker import begin_workers, end_workers
from tlsrt.loops.runtime.timers import Clock, ComponentTimers, HostClock
from tlsrt.testing.answering import ComponentAnswers
from tlsrt.testing.conversation import Carrier, Conversation, Request
from tlsrt.testing.jobs import MemoryJobs

PROCESS = "process"  # the target of the calls that start and stop a component in a process of its own
STOP_S = 2.0

STATE_BYTES = 64 << 20  # of its database


class PeersPort:
    """The way out of a component in a test: its calls go to the peers at the other end."""

    def __init__(self, conversation: Conversation, address: str) -> None:
        self._conversation = conversation
        self._address = address
        self.failed = ""  # why the process would end, on a host

    def fail(self, sentence: str) -> None:
        """Take note of the end of the process; the test hears of it when the component stops."""
        self.failed = self.failed or sentence

    def call(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, timeout_s: float,
        idempotency_key: str | None, wait_s: float | None = None,
    ) -> Coroutine[Any, Any, Any]:  # fmt: skip
        return self._conversation.call(
            target, method, args, kwargs, caller=self._address, timeout_s=timeout_s, idempotency_key=idempotency_key
        )

    def stream(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object], *, timeout_s: float
    ) -> AsyncIterator[Any]:
        return self._items(target, method, args, kwargs, None)

    def upload(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> Coroutine[Any, Any, Any]:  # fmt: skip
        return self._conversation.call(
            target, method, args, kwargs, caller=self._address, timeout_s=timeout_s, parts=parts
        )

    def exchange(
        self, target: str, method: str, parts: AsyncIterator[bytes], args: Sequence[object],
        kwargs: Mapping[str, object], *, timeout_s: float,
    ) -> AsyncIterator[Any]:  # fmt: skip
        return self._items(target, method, args, kwargs, parts)

    async def _items(
        self, target: str, method: str, args: Sequence[object], kwargs: Mapping[str, object],
        parts: AsyncIterator[bytes] | None,
    ) -> AsyncIterator[Any]:  # fmt: skip
        """Begin when the first item is asked for, as a real port does."""
        stream = self._conversation.stream(target, method, args, kwargs, caller=self._address, parts=parts)
        try:
            async for item in stream:
                yield item
        finally:
            await stream.aclose()


class HostedComponent:
    """Attaches a component, starts and stops it, and answers for it at its end of a conversation.

    Calls to `PROCESS` start and stop it, where its end is in another process, and run its jobs.
    """

    def __init__(
        self, component: Component, carrier: Carrier, *, address: str, options: Mapping[str, object], state: Path,
        clock: Clock | None = None, work: Work | None = None, secrets: Mapping[str, bytes] = MappingProxyType({}),
        programs: ProgramRunner | None = None, grants: Grants | None = None,
    ) -> None:  # fmt: skip
        self.component = component
        self.ended = asyncio.Event()
        log = logging.getLogger(address)
        self._log = log
        self._answers = ComponentAnswers(component, address, log)
        self.conversation = Conversation(carrier, self)
        self._port = PeersPort(self.conversation, address)
        self._jobs = MemoryJobs(self._port)
        attach(
            component, address=address, options=options, state=state, log=log, port=self._port, work=work,
            secrets=ComponentSecrets.of_values(address, secrets), programs=programs, grants=grants,
            jobs=self._jobs,
        )  # fmt: skip
        self.timers = ComponentTimers(component, state, log, clock or HostClock())

    def begin(self, request: Request) -> Awaitable[object] | AsyncIterator[object]:
        if request.target != PROCESS:
            return self._answers.begin(request)
        if request.method == "run_job":
            return self._jobs.run(str(request.args[0]))
        return self.start() if request.method == "start" else self._stop_and_end()

    def fold(self, request: Request | None, error: BaseException) -> CallError:
        if request is None or request.target != PROCESS:
            return self._answers.fold(request, error)
        self._log.error("%s failed", request.method, exc_info=error)
        return Failed(str(error) if isinstance(error, TlsrtError) else f"{type(error).__name__}: {error}")

    async def start(self) -> None:
        """Start it. What was begun is ended again if that fails."""
        try:
            await open_database(self.component, STATE_BYTES)
            await self.component.start()
            begin_workers(self.component)
            self.timers.start()
        except BaseException:
            try:
                await self._let_go()
            finally:
                await end_workers(self.component)
                await close_database(self.component)
            raise

    async def stop(self) -> None:
        """End what runs, then the component, as a process that is drained does.

        Raises RuntimeError if one of its tasks has ended too often: on a host its process would have ended.
        """
        try:
            await self._let_go()
            await self.component.stop()
        finally:
            await end_workers(self.component)
            await close_database(self.component)
        if self._port.failed:
            raise RuntimeError(f"the component has failed: {self._port.failed}")

    async def _let_go(self) -> None:
        """End what runs in the component."""
        await self.conversation.close()
        await self.timers.stop(STOP_S)
        detach(self.component)
        await tasks_of(self.component).stop()

    async def _stop_and_end(self) -> None:
        try:
            await self.stop()
        finally:
            asyncio.get_running_loop().call_soon(self.ended.set)
