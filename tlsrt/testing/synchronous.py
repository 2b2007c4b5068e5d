"""A component in a test that is no coroutine: the same, with calls that wait for their results."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tlsrt.loops.component.component import Component
from tlsrt.loops.runtime.timers import Clock
from tlsrt.testing.answering import Sent
from tlsrt.testing.conversation import ItemStream
from tlsrt.testing.granted import FakeDevice, FakeEvents
from tlsrt.testing.running import CALLER, Chunks, ComponentUnderTest, running

Result = TypeVar("Result")


class Items:
    """The items of a stream, one after the other. Close it to end the stream early."""

    def __init__(self, runner: asyncio.Runner, items: ItemStream) -> None:
        self._runner = runner
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._runner.run(_next(self._items))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        self._runner.run(self._items.aclose())


async def _next(items: ItemStream) -> Any:
    return await anext(items)


class SynchronousComponent:
    """A component that runs. Its tasks go on while a call of this object waits, and stand still otherwise."""

    def __init__(self, runner: asyncio.Runner, it: ComponentUnderTest) -> None:
        self._runner = runner
        self._it = it

    @property
    def component(self) -> Any:
        """The object itself. Not there in a sealed test, where it is in another process."""
        return self._it.component

    @property
    def refused(self) -> list[str]:
        """System calls that were refused in a sealed test; clear it if they had to be."""
        return self._it.refused

    @property
    def sent(self) -> list[Sent]:
        """The calls that the component has made to its peers, in their order."""
        return self._it.sent

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await something in the event loop of the component."""
        return self._runner.run(work)

    def call(
        self, method: str, *args: object, caller: str = CALLER, timeout_s: float = 30.0,
        idempotency_key: str | None = None, **kwargs: object,
    ) -> Any:  # fmt: skip
        """Call a method and return its result; raises CallErrors."""
        return self.run(
            self._it.call(method, *args, caller=caller, timeout_s=timeout_s, idempotency_key=idempotency_key, **kwargs)
        )

    def upload(
        self, method: str, data: Chunks, *args: object, caller: str = CALLER, timeout_s: float = 30.0, **kwargs: object
    ) -> Any:
        """Send a stream of bytes to a method and return its result."""
        return self.run(self._it.upload(method, data, *args, caller=caller, timeout_s=timeout_s, **kwargs))

    def stream(self, method: str, *args: object, caller: str = CALLER, **kwargs: object) -> Items:
        """Begin a stream now, and return its items."""
        return self.run(self._begin(lambda: self._it.stream(method, *args, caller=caller, **kwargs)))

    def exchange(self, method: str, data: Chunks, *args: object, caller: str = CALLER, **kwargs: object) -> Items:
        """Send a stream of bytes to a method that answers with a stream; return its items."""
        return self.run(self._begin(lambda: self._it.exchange(method, data, *args, caller=caller, **kwargs)))

    def subscribe(self, topic: str, *, caller: str = CALLER) -> Items:
        """Subscribe now, and return what is published from now on."""
        return self.run(self._begin(lambda: self._it.subscribe(topic, caller=caller)))

    def run_job(self, job: str) -> str:
        """Make the call that the component has put off, as if it were time; return its outcome: done, or a code."""
        return self.run(self._it.run_job(job))

    async def _begin(self, begin: Any) -> Items:
        items = begin()
        await asyncio.sleep(0)
        return Items(self._runner, items)


@contextmanager
def running_sync(
    kind: type[Component], *, options: Mapping[str, object] | None = None, state: Path | None = None,
    peers: Mapping[str, object] | None = None, address: str | None = None, needs: Mapping[str, object] | None = None,
    secrets: Mapping[str, bytes] | None = None, clock: Clock | None = None,
    devices: Mapping[str, FakeDevice] | None = None, events: FakeEvents | None = None,
    programs: Mapping[str, Mapping[str, object]] | None = None, imports: Sequence[str] | None = None,
) -> Iterator[SynchronousComponent]:  # fmt: skip
    """Run a component as `running` does, in a test that is no coroutine.

    def test_it_boils() -> None:
        with running_sync(Kettle) as kettle:
            assert kettle.call("boil", 3) == "boiled"
    """
    manager = running(
        kind, options=options, state=state, peers=peers, address=address, needs=needs, secrets=secrets, clock=clock,
        devices=devices, events=events, programs=programs, imports=imports,
    )  # fmt: skip
    with asyncio.Runner() as runner:
        it = runner.run(_enter(manager))
        try:
            yield SynchronousComponent(runner, it)
        except BaseException as error:
            if not runner.run(manager.__aexit__(type(error), error, error.__traceback__)):
                raise
        else:
            runner.run(manager.__aexit__(None, None, None))


async def _enter(manager: Any) -> ComponentUnderTest:
    it: ComponentUnderTest = await manager.__aenter__()
    return it
