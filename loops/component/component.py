"""The component SDK: what a user writes (Component, handler), and what the runtime gives it (attach, detach).

A component is a class with `@handler` methods. Its handlers are compiled to MethodSpecs when the class is made, so a
handler that the wire could not carry is a MisuseError at import. The runtime makes the object without arguments,
attaches its surroundings, awaits `start`, invokes its methods (`invocation.py`), awaits `stop` and detaches it. All
of it happens in the one thread of the loop's event loop.

Rules for handlers: never block, start no thread and no process (the sandbox forbids them), import everything at the
top of the module (a sealed loop cannot open code any more), raise an error of `tlsrt.errors.CallError` to tell the
caller something; whatever else is raised, or cannot be sent, reaches the caller as "failed" and goes to the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, overload

from tlsrt.channels.calls.chunks import parts_of
from tlsrt.channels.frames.trace import Trace, current_trace
from tlsrt.errors import MisuseError, NotFound
from tlsrt.loops.component.caller import CALLER
from tlsrt.loops.component.database import Database, database_of
from tlsrt.loops.component.deferring import Deferring, JobPort, NoJobs
from tlsrt.loops.component.describe import describe as describe_component
from tlsrt.loops.component.follow import EVENTS, Followed
from tlsrt.loops.component.grants import Granted, Grants, NoGrants
from tlsrt.loops.component.handlers import collect_handlers
from tlsrt.loops.component.kept_program import KeptProgram, Serve
from tlsrt.loops.component.kept_topic import POSITION_MAX
from tlsrt.loops.component.listeners import InheritedListeners, Listening
from tlsrt.loops.component.method import MARK, MethodSpec, compile_method, nearest
from tlsrt.loops.component.metrics import Counting, Metrics
from tlsrt.loops.component.options import NAME, OptionsSpec, Where, compile_options
from tlsrt.loops.component.port import Port
from tlsrt.loops.component.program import NoPrograms, Program, ProgramRunner, run_to_end
from tlsrt.loops.component.program import Result as RunResult
from tlsrt.loops.component.pubsub import PubSub, now_on, numbered
from tlsrt.loops.component.secrets import REQUIRED, ComponentSecrets
from tlsrt.loops.component.status_text import TOPIC, StatusText
from tlsrt.loops.component.surroundings import (
    OptionsSurrounding,
    Surrounding,
    check_life,
    give,
    refuse_shadows,
    reserve,
)
from tlsrt.loops.component.tasks import Spawnable, SpawnedTask, Tasks
from tlsrt.loops.component.types import shown, to_plain
from tlsrt.loops.component.validate import Length
from tlsrt.loops.component.work import NoWork, Work
from tlsrt.loops.disk_thread import DiskThread

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")
Default = TypeVar("Default")

FOLLOW_OPEN_S = 30.0  # for the request of a stream that is followed


@overload
def handler(function: Function) -> Function: ...
@overload
def handler(*, idempotent: bool = False) -> Callable[[Function], Function]: ...
def handler(function: Any = None, *, idempotent: bool = False) -> Any:
    """Make an async method callable from other components and clients, as `@handler` or `@handler(idempotent=True)`.

    Say idempotent only of a method that may run twice without harm: a caller whose answer got lost then repeats it.
    """

    def mark(function: Any) -> Any:
        try:
            setattr(function, MARK, idempotent)
        except AttributeError:
            raise MisuseError(
                f"@handler must be the outermost decorator of a plain method, not of {function!r}; write @handler or "
                "@handler(idempotent=True)"
            ) from None
        return function

    return mark if function is None else mark(function)


class Component(Granted, Counting, Deferring, Listening):
    """Base of every component. Subclass it, mark methods with @handler, and name the class in the manifest.

    From `start` on it has `self.address` ("third/kettle"), `self.options` (an object of its class `Options`),
    `self.state` (the path of a folder of its own, which outlives it) and `self.log` (a logger). `topics` may declare
    what it publishes. These names, and those of the methods, are the runtime's.
    """

    __tlsrt_methods__: ClassVar[Mapping[str, MethodSpec]] = {}
    topics: ClassVar[Mapping[str, str]] = {}  # topic: what it tells; if not empty, there are no others

    __tlsrt_options__: ClassVar[OptionsSpec | None] = None  # of the class `Options` in it

    address: Surrounding[str] = Surrounding()  # "secondary/notes"
    options = OptionsSurrounding()  # an object of the class `Options` in it, else as in the YAML
    state: Surrounding[Path] = Surrounding()  # a folder of its own that it may write, and that outlives it
    log: Surrounding[logging.Logger] = Surrounding()
    port: Surrounding[Port] = Surrounding()
    disk_threads: Sequence[DiskThread] = ()  # those that it made in its __init__; its loop starts them, and watches
    _tlsrt_tasks: Surrounding[Tasks] = Surrounding()
    _tlsrt_status: Surrounding[StatusText] = Surrounding()
    _pubsub: Surrounding[PubSub] = Surrounding()
    _tlsrt_work: Surrounding[Work] = Surrounding()
    _tlsrt_secrets: Surrounding[ComponentSecrets] = Surrounding()
    _tlsrt_database: Surrounding[Database | None] = Surrounding()
    _tlsrt_programs: Surrounding[ProgramRunner] = Surrounding()
    _tlsrt_kept: Surrounding[list[KeptProgram]] = Surrounding()
    _tlsrt_page: Surrounding[str] = Surrounding()

    def __new__(cls) -> Component:
        """Make the PubSub here, so that a subclass may have an __init__ that does not call super."""
        self = super().__new__(cls)
        declared = database_of(cls)
        database = Database(declared.steps, CALLER.get) if declared else None
        give(self, _pubsub=PubSub(), _tlsrt_metrics=Metrics(), _tlsrt_database=database, _tlsrt_page="")
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_shadows(cls, Component, _RESERVED)
        database_of(cls)
        cls.__tlsrt_methods__ = collect_handlers(cls, _TAKEN)
        check_life(cls, _LIFE)
        if NAME in vars(cls) or (hasattr(cls, NAME) and cls.__tlsrt_options__ is None):
            cls.__tlsrt_options__ = compile_options(cls, getattr(cls, NAME))

    def warm_up(self) -> None:
        """Called once between the import and the seal, the last moment at which code and package data can be read.

            def warm_up(self) -> None:
                self.model = load(importlib.resources.files("mine") / "models/small.onnx")

        Load models here, and use once what imports something when it is used first. There are `self.options`,
        `self.address` and `self.log`, and no event loop yet; no thread may be started: that is for `start`.
        """

    async def start(self) -> None:
        """Called once before the first request; an exception keeps the loop from becoming active."""

    async def stop(self) -> None:
        """Called once after the last request."""

    def healthy(self) -> Awaitable[str | bool | None] | str | bool | None:
        """Say whether the component is well; if it is not, again and again, it is restarted (`health` in the YAML).

        Return None or True if it is, or a sentence that says what is wrong, for the log; an exception says it too. May
        be a coroutine. A component that does not override this is not asked.
        """
        return None

    def ready(self) -> Awaitable[str | bool | None] | str | bool | None:
        """Say whether calls make sense now: the broker is connected, the model is loaded. No restart follows.

        It answers as `healthy` does, and is asked twice a second. Until it says yes, calls are answered `away` and
        have not run, so callers wait for a moment; `describe` and `subscribe` are served, and status shows it.
        """
        return None

    @property
    def caller(self) -> str:
        """Who sent the request that runs now, such as "client/admin"; empty outside of a request."""
        return CALLER.get()

    @property
    def trace(self) -> Trace | None:
        """The trace that the request which runs now belongs to, to hand on to another system; None for none.

        Calls of other components take it along. The caller chose it, so it proves nothing.

            headers = {"traceparent": self.trace.traceparent} if self.trace else {}
        """
        return current_trace()

    def call(
        self,
        target: str,
        method: str,
        *args: object,
        timeout_s: float = 30.0,
        idempotency_key: str | None = None,
        **kwargs: object,
    ) -> Coroutine[Any, Any, Any]:
        """Call a method of another component and return its result; raises CallErrors (`tlsrt.errors`).

        With an idempotency key the recipient runs the call once, and an answer that got lost is asked for again.
        """
        return self.port.call(target, method, args, kwargs, timeout_s=timeout_s, idempotency_key=idempotency_key)

    def stream(
        self, target: str, method: str, *args: object, timeout_s: float = 300.0, **kwargs: object
    ) -> AsyncIterator[Any]:
        """Call a streaming method of another component; it ends by itself, by a CallError or at its deadline."""
        return self.port.stream(target, method, args, kwargs, timeout_s=timeout_s)

    def upload(
        self, target: str, method: str, data: bytes | AsyncIterable[bytes], *args: object, timeout_s: float = 300.0,
        **kwargs: object,
    ) -> Coroutine[Any, Any, Any]:  # fmt: skip
        """Send a stream of bytes to a method of another component and return its result; raises CallErrors."""
        return self.port.upload(target, method, parts_of(data), args, kwargs, timeout_s=timeout_s)

    def exchange(
        self, target: str, method: str, data: bytes | AsyncIterable[bytes], *args: object, timeout_s: float = 30.0,
        **kwargs: object,
    ) -> AsyncIterator[Any]:  # fmt: skip
        """Send a stream of bytes to a method that answers with a stream, and iterate its items meanwhile.

        `timeout_s` bounds the sending of the request only. Close the iterator (`aclose`) to end the call early.
        """
        return self.port.exchange(target, method, parts_of(data), args, kwargs, timeout_s=timeout_s)

    def program(self, name: str, *arguments: str | bytes) -> Program:
        """Have a declared program run as long as a block: `async with self.program("gzip", "-c") as running:`."""
        return Program(self._tlsrt_programs, name, arguments)

    def run(
        self, name: str, *arguments: str | bytes, input: bytes = b"", most: int = 64 << 20
    ) -> Coroutine[Any, Any, RunResult]:
        """Run a declared program to its end, `await self.run("git", "--version")`; raises ProgramError and Busy."""
        return run_to_end(self.program(name, *arguments), input, most)

    def keep_running(
        self, name: str, *arguments: str | bytes, serve: Serve | None = None, reads_output: bool = False
    ) -> KeptProgram:
        """Have a program with `life: kept` run as long as this component: `self.keep_running("main")`.

        `serve(run)` is run beside each run. What the program writes goes to the log; standard output not with
        `reads_output`.
        """
        kept = KeptProgram(self._tlsrt_programs, name, arguments, serve, self.log, reads_output=reads_output)
        kept.begin(lambda work, title: self.spawn(work, name=title))
        self._tlsrt_kept.append(kept)
        return kept

    def subscribe(self, target: str, topic: str, *, timeout_s: float = 300.0) -> AsyncIterator[Any]:
        """Return the events that `target` publishes on `topic` from now on; Busy ends it if we fall behind."""
        return self.port.stream(target, "subscribe", [topic], {}, timeout_s=timeout_s)

    def spawn(self, work: Spawnable, *, name: str = "", restart: bool = True) -> SpawnedTask:
        """Run an async method beside the handlers until the component stops: `self.spawn(self.pump)`.

        If it raises or returns, that is logged with its name and it is started again after a pause; the 6th time in
        60 s ends the component's process. With `restart=False`, or a coroutine that was begun (`self.pump()`), it may
        return, and an exception ends the process at once. It is cancelled before `stop` is called.
        """
        return self._tlsrt_tasks.spawn(work, name, restart)

    def set_status(self, text: str) -> None:
        """Say what the component is doing, as in `self.set_status("connecting")`: for the log, and topic `status`.

        It is one line of at most 200 characters; the same again is told once, and no more than one a second for long.
        """
        if line := self._tlsrt_status.told(text, time.monotonic()):
            self.log.info("status: %s", line)
            self._pubsub.publish(TOPIC, line)

    @overload
    def secret(self, name: str) -> bytes: ...
    @overload
    def secret(self, name: str, default: Default) -> bytes | Default: ...
    def secret(self, name: str, default: Any = REQUIRED) -> Any:
        """Return a secret that the operator has set: `self.secret("broker").decode()`. There from `start` on.

        Name it under `needs` (`secrets: [{name: broker, why: ...}]`). Raises MisuseError for one that is not named
        there. One that is not set keeps the component from its start, unless it is `optional` there: then this returns
        the default, `self.secret("broker", None)`.
        """
        return self._tlsrt_secrets.value(name, default)

    def follow(self, target: str, topic: str, *, since: str = "") -> Followed:
        """Iterate the events of a topic of `target` over restarts of it and of Primary, each once.

        Where events were lost comes a `Gap`. `at` of what this returns is the position behind the last item: give it
        as `since` to go on there. Of `primary/events` the topic is a kind, such as lifecycle.

            async for event in self.follow("third/notes", "added"):
                if isinstance(event, Gap):
                    ...
        """
        method, args = (topic, []) if target == EVENTS else ("subscribe", [topic])
        open_stream = partial(_stream_since, self.port, target, method, args)
        return Followed(f"{target} {topic}", open_stream, since, self.log)

    def publish(self, topic: str, value: object) -> None:
        """Give `value` to everyone who subscribed to `topic`. Never waits; do not change `value` afterwards."""
        if self.topics and topic not in self.topics:
            raise MisuseError(f"{type(self).__name__} publishes {topic!r}, which its `topics` do not declare")
        self._pubsub.publish(topic, to_plain(value))

    async def work(
        self, function: Callable[..., Result], *args: object, timeout_s: float | None = None, **kwargs: object
    ) -> Result:
        """Run a function in a thread, so that the event loop goes on meanwhile, and return its result.

            text = await self.work(model.transcribe, sound, timeout_s=20)

        It takes `threads: N` under `needs`. Raises Busy if too much waits for a thread, DeadlineExceeded after
        `timeout_s`, and what the function raises. A thread cannot be stopped: a function whose call was cancelled, or
        took too long, goes on until it returns, and occupies its thread.
        """
        result: Result = await self._tlsrt_work.run(self.caller, function, args, kwargs, timeout_s)
        return result

    async def _describe(self, *, page: bool = False) -> dict[str, Any]:
        """What this component offers: methods, parameters, types, topics, whether it has a page; with it, if asked."""
        return describe_component(self, self._tlsrt_page, with_page=page)

    async def _subscribe(
        self, topic: str, since: Annotated[str, Length(POSITION_MAX)] | None = None
    ) -> AsyncIterator[Any]:
        """The events of a topic from now on; with `since`, those behind a position, each with its own."""
        if self.topics and topic not in (*self.topics, TOPIC):
            guess = nearest(topic, list(self.topics))
            raise NotFound(f"no topic {shown(topic)}" + (f", did you mean {guess!r}?" if guess else ""))
        values = now_on(self._pubsub, topic) if since is None else numbered(self._pubsub, topic, since)
        async with aclosing(values):
            async for value in values:
                yield value


# Helpers that a class may do without: a handler of this name takes its place, as it may those of Counting.
OPEN = frozenset({"work", "program", "run", "metrics"})
BUILTIN: Mapping[str, MethodSpec] = {
    "describe": compile_method("Component", "describe", Component._describe, idempotent=True),
    "metrics": compile_method("Component", "metrics", Counting._metrics, idempotent=True),
    "subscribe": compile_method("Component", "subscribe", Component._subscribe, idempotent=False),
}
_LIFE = ("start", "stop", "healthy", "ready", "warm_up")  # what the runtime calls
_THEIRS = (*_LIFE, "topics", "disk_threads")  # what a subclass may have of its own
_RESERVED = (
    reserve(Component, (*_THEIRS, *OPEN)) | reserve(Granted, ()) | reserve(Deferring, ()) | reserve(Listening, ())
)
_TAKEN = frozenset({*_RESERVED, *_THEIRS, *BUILTIN} - OPEN)  # by which no handler is called


def read_options(
    kind: type[Component], address: str, options: Mapping[str, object], place: Callable[[Where], str] = lambda key: ""
) -> Any:
    """Return what `self.options` will be; `place` says where an option stands in its file. Raises ConfigError."""
    spec = kind.__tlsrt_options__
    return spec.read(address, options, place) if spec is not None else options


def attach(
    component: Component, *, address: str, options: Mapping[str, object], state: Path, log: logging.Logger, port: Port,
    work: Work | None = None, secrets: ComponentSecrets | None = None, grants: Grants | None = None,
    programs: ProgramRunner | None = None, listeners: InheritedListeners | None = None, jobs: JobPort | None = None,
) -> None:  # fmt: skip
    """Give a new component its surroundings; the runtime does this before `start`. Raises ConfigError for options."""
    typed = read_options(type(component), address, options)
    give(
        component, address=address, options=typed, state=state, log=log, port=port, _tlsrt_work=work or NoWork(address),
        _tlsrt_tasks=Tasks(log, port), _tlsrt_status=StatusText(), _tlsrt_grants=grants or NoGrants(),
        _tlsrt_secrets=secrets or ComponentSecrets(address, (), {}),
        _tlsrt_programs=programs or NoPrograms(), _tlsrt_kept=[], _tlsrt_jobs=jobs or NoJobs(),
        _tlsrt_listeners=listeners or InheritedListeners(address, {}),
    )  # fmt: skip


def _stream_since(port: Port, target: str, method: str, args: Sequence[object], since: str) -> AsyncIterator[Any]:
    return port.stream(target, method, args, {"since": since}, timeout_s=FOLLOW_OPEN_S)


def tasks_of(component: Component) -> Tasks:
    """Return the tasks of an attached component, for the runtime."""
    return component._tlsrt_tasks


def kept_programs_of(component: Component) -> list[KeptProgram]:
    """Return the programs that an attached component keeps running, for the runtime."""
    return component._tlsrt_kept


def detach(component: Component) -> None:
    """End all subscriptions to the component, each after what it has queued; the runtime does this after `stop`."""
    component._pubsub.close()
