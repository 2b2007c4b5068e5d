"""A component between its attachment and its end, at its end of a conversation. asyncio."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlsrt.loops.component.component import Component, attach, detach, tasks_of
from tlsrt.loops.component.component_disk import close_database, disk_threads_of, open_database
from tlsrt.loops.runtime.work_threads import WorkThreads
from tlsrt.testing.answering import ComponentAnswers
from tlsrt.testing.conversation import Carrier, Conversation

STATE_BYTES = 64 << 20  # of its database
THREADS = 4  # for its `work`


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
        idempotency_key: str | None,
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
    """Attaches a component, starts and stops it. `conversation` carries its calls, both ways."""

    def __init__(
        self, component: Component, carrier: Carrier, *, address: str, options: Mapping[str, object], state: Path
    ) -> None:
        self.component = component
        log = logging.getLogger(address)
        self.conversation = Conversation(carrier, ComponentAnswers(component, address, log))
        self._port = PeersPort(self.conversation, address)
        self._threads = WorkThreads(THREADS, log)
        attach(component, address=address, options=options, state=state, log=log, port=self._port, work=self._threads)

    async def start(self) -> None:
        for disk in disk_threads_of(self.component):
            disk.start()
        await open_database(self.component, STATE_BYTES)
        await self.component.start()

    async def stop(self) -> None:
        """End what runs, then the component, as a process that is drained does.

        Raises RuntimeError if one of its tasks has ended too often: on a host its process would have ended.
        """
        await self.conversation.close()
        detach(self.component)
        await tasks_of(self.component).stop()
        await self.component.stop()
        await close_database(self.component)
        self._threads.shutdown(wait=False)
        if self._port.failed:
            raise RuntimeError(f"the component has failed: {self._port.failed}")
