"""`running`: a component in a test, started and stopped, with peers that the test gives it."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tlsrt.channels.calls.chunks import parts_of
from tlsrt.errors import MisuseError
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.component_disk import disk_threads_of
from tlsrt.loops.runtime.timers import Clock
from tlsrt.loops.runtime.work_threads import WorkThreads
from tlsrt.testing.answering import PeerAnswers, Sent
from tlsrt.testing.conversation import Conversation, ItemStream, Message
from tlsrt.testing.granted import FakeDevice, FakeEvents, FakeGrants
from tlsrt.testing.hosted import PROCESS, HostedComponent
from tlsrt.testing.workers import PlainPrograms, declared, declared_programs

CALLER = "client/test"
THREADS = 4  # for its `work`
Chunks = bytes | AsyncIterable[bytes]


class SealedError(AssertionError):
    """What a sealed process was not allowed to do, a sentence for each call; or that it has ended unasked."""


class ComponentUnderTest:
    """A component that runs. `caller` of each call is who makes it, as the component sees it.

    What is raised is what a caller outside would get, with the exception of the component as its cause (`__cause__`).
    """

    def __init__(
        self, conversation: Conversation, peers: PeerAnswers, component: Component | None,
        refused: Callable[[], list[str]],
    ) -> None:  # fmt: skip
        self._refused = refused
        self._conversation = conversation
        self._peers = peers
        self._component = component

    @property
    def refused(self) -> list[str]:
        """Refused calls of the system, those before the last answer too; clear it if they had to be refused."""
        return self._refused()

    @property
    def component(self) -> Any:
        """The object itself. Not there in a sealed test, where it is in another process."""
        if self._component is None:
            raise MisuseError(
                "a sealed component is in another process: test it by its calls, or skip this when sealed"
            )
        return self._component

    @property
    def sent(self) -> list[Sent]:
        """The calls that the component has made to its peers, in their order."""
        return self._peers.sent

    async def call(
        self, method: str, *args: object, caller: str = CALLER, timeout_s: float = 30.0,
        idempotency_key: str | None = None, **kwargs: object,
    ) -> Any:  # fmt: skip
        """Call a method and return its result; raises CallErrors."""
        return await self._conversation.call(
            "", method, args, kwargs, caller=caller, timeout_s=timeout_s, idempotency_key=idempotency_key
        )

    def stream(self, method: str, *args: object, caller: str = CALLER, **kwargs: object) -> ItemStream:
        """Begin a stream now, and return its items; end it early with `aclose`."""
        return self._conversation.stream("", method, args, kwargs, caller=caller)

    async def upload(
        self, method: str, data: Chunks, *args: object, caller: str = CALLER, timeout_s: float = 30.0, **kwargs: object
    ) -> Any:
        """Send a stream of bytes to a method and return its result."""
        return await self._conversation.call(
            "", method, args, kwargs, caller=caller, timeout_s=timeout_s, parts=parts_of(data)
        )

    def exchange(self, method: str, data: Chunks, *args: object, caller: str = CALLER, **kwargs: object) -> ItemStream:
        """Send a stream of bytes to a method that answers with a stream; return its items."""
        return self._conversation.stream("", method, args, kwargs, caller=caller, parts=parts_of(data))

    def subscribe(self, topic: str, *, caller: str = CALLER) -> ItemStream:
        """Subscribe now, and return what is published from now on."""
        return self.stream("subscribe", topic, caller=caller)

    async def run_job(self, job: str) -> str:
        """Make the call that the component has put off, as if it were time; return its outcome: done, or a code."""
        return str(await self._conversation.call(PROCESS, "run_job", (job,), {}, caller=CALLER, timeout_s=310.0))


class _Queue:
    """Carries messages to another end in this process, each in a turn of its own."""

    def __init__(self) -> None:
        self.take: Callable[[Message, BaseException | None], None] = lambda message, cause: None

    def send(self, message: Message, cause: BaseException | None = None) -> None:
        asyncio.get_running_loop().call_soon(self.take, message, cause)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a test says of the component that it runs."""

    kind: type[Component]
    address: str
    options: Mapping[str, object]
    needs: Mapping[str, object]
    programs: Mapping[str, Mapping[str, object]]
    secrets: Mapping[str, bytes]
    clock: Clock | None
    state: Path
    devices: Mapping[str, FakeDevice]
    events: FakeEvents | None
    imports: Sequence[str] = ()


class Way(Protocol):
    """A way to run a component: in this process, or sealed in another one."""

    def __call__(self, setup: Setup, peers: PeerAnswers) -> AbstractAsyncContextManager[ComponentUnderTest]: ...


@asynccontextmanager
async def in_this_process(setup: Setup, peers: PeerAnswers) -> AsyncIterator[ComponentUnderTest]:
    """Run a component in the event loop of the test. What it needs of its process is there anyway."""
    there, here = _Queue(), _Queue()
    work = WorkThreads(THREADS, logging.getLogger(setup.address))
    programs = PlainPrograms(setup.programs, logging.getLogger(setup.address))
    with closing(FakeGrants(setup.devices, setup.events)) as grants:
        hosted = HostedComponent(
            setup.kind(), here, address=setup.address, options=setup.options, state=setup.state, clock=setup.clock,
            work=work, secrets=setup.secrets, programs=programs, grants=grants,
        )  # fmt: skip
        conversation = Conversation(there, peers)
        there.take, here.take = hosted.conversation.on_message, conversation.on_message
        try:
            for disk in disk_threads_of(hosted.component):
                disk.start()
            await hosted.start()
            try:
                none: list[str] = []
                yield ComponentUnderTest(conversation, peers, hosted.component, lambda: none)
            finally:
                await hosted.stop()
        finally:
            await conversation.close()
            await programs.close()
            work.shutdown(wait=False)


_ways: list[Way] = [in_this_process]


def use_way(way: Way | None) -> None:
    """Run components another way from now on, as `pytest --sealed` does; None: in this process again."""
    _ways[:] = [way or in_this_process]


@asynccontextmanager
async def running(
    kind: type[Component], *, options: Mapping[str, object] | None = None, state: Path | None = None,
    peers: Mapping[str, object] | None = None, address: str | None = None, needs: Mapping[str, object] | None = None,
    programs: Mapping[str, Mapping[str, object]] | None = None, secrets: Mapping[str, bytes] | None = None,
    clock: Clock | None = None, devices: Mapping[str, FakeDevice] | None = None, events: FakeEvents | None = None,
    imports: Sequence[str] | None = None,
) -> AsyncIterator[ComponentUnderTest]:  # fmt: skip
    """Run a component without a host, and stop it at the end. A few milliseconds.

    `options`, `needs`, `programs` and `imports` (which only a sealed one needs) are as in the YAML; without the last
    two, they are those of its manifest. `state` is its folder, else one that is removed afterwards. `peers` are
    components that it may call, by address: objects of Component, or of any class with methods of these names.
    `secrets` are values by name, and `clock` is what its timers go by. `devices` by name, and `events`, are what it is
    granted of the host. Every argument, result, item and error makes its way through msgpack with the checks and bounds
    of a host. Raises what a peer of the test raised, unless it is a CallError, and with `pytest --sealed` a SealedError
    for each system call that was refused.

        async def test_it_boils() -> None:
            async with running(Kettle, options={"litres": 2}, peers={"primary/kernel": FakeKernel()}) as kettle:
                assert await kettle.call("boil", 3) == "boiled"
    """
    if not (isinstance(kind, type) and issubclass(kind, Component)):
        raise MisuseError(f"running takes a class of Component, not {kind!r}")
    answers = PeerAnswers(peers or {})
    with ExitStack() as stack:
        folder = state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tlsrt-state-")))
        setup = Setup(
            kind, address or f"third/{kind.__name__.lower()}", options or {}, needs or {},
            programs if programs is not None else declared_programs(kind), secrets or {}, clock, folder,
            devices or {}, events, imports if imports is not None else declared(kind, "imports") or (),
        )  # fmt: skip
        async with _ways[0](setup, answers) as it:
            yield it
        if answers.faults:
            raise answers.faults[0]
