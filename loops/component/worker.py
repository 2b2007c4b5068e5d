"""Workers of a component: `whisper = worker_of("whisper")`, a proxy whose methods are functions of another process.

What a worker answers is untrusted: it may have run the code of a model. Its values are data within bounds, checked
against the types of the Protocol that the component gives for it.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar, overload

from tlsrt.channels.frames.worker_frames import Kind
from tlsrt.errors import DeadlineExceeded, MisuseError, NotFound, TlsrtError, Unavailable
from tlsrt.loops.component.declared import annotated_kind, split_upload
from tlsrt.loops.component.method import nearest
from tlsrt.loops.component.timers import period_s
from tlsrt.loops.component.types import Mismatch, ParameterType, shown, to_plain
from tlsrt.loops.component.worker_method import result_of
from tlsrt.loops.component.worker_pool import WorkerPool
from tlsrt.loops.component.worker_process import WorkerProcess

Interface = TypeVar("Interface")


@overload
def worker_of(
    name: str, *, idle: str | float | None = "5m", warm: bool = False, cancel: str | float | None = None
) -> Any: ...
@overload
def worker_of(
    name: str, kind: Callable[..., Interface], *, idle: str | float | None = "5m", warm: bool = False,
    cancel: str | float | None = None,
) -> Interface: ...  # fmt: skip
def worker_of(
    name: str, kind: Any = None, *, idle: str | float | None = "5m", warm: bool = False,
    cancel: str | float | None = None,
) -> Any:  # fmt: skip
    """Declare a worker in the body of a class: an entry of `programs` with `worker: MODULE` in the manifest.

    Its process is begun at the first call, or at the start with `warm=True`, ended when it was `idle` for so long
    (None: never), and begun anew at the next call if it died. With a class or Protocol mypy knows the types, and what
    comes back is checked against them.

        class Speech(Component):
            whisper = worker_of("whisper", Whisper, idle="5m")

            @handler
            async def transcribe(self, sound: bytes) -> str:
                return await self.whisper.transcribe(sound, "en")

    `async for word in self.whisper.words(sound)` iterates a stream, and an async iterator among the arguments is an
    upload.

    A call that its caller gives up goes on in the process until the function looks (a plain one: to its end); with
    `cancel="200ms"` it has so long, then its process is ended, and the next call loads another one.

    Raises what the function raised (InvalidArgument, NotFound, Conflict, Busy and Failed as themselves, else
    WorkerError), Unavailable if the process ended or cannot be loaded, DeadlineExceeded after the `seconds` of the
    entry, Busy if 64 calls wait.
    """
    if not isinstance(name, str) or not name:
        raise MisuseError(f"cannot have the worker {name!r}: name an entry of `programs`, as in worker_of('whisper')")
    idle_s = None if idle is None else period_s("idle", idle)
    cancel_s = None if cancel is None else period_s("cancel", cancel)
    return DeclaredWorker(name, kind, idle_s, warm, cancel_s)


class DeclaredWorker:
    """A worker in the body of a class; a component has a Worker there."""

    def __init__(self, name: str, kind: Any, idle_s: float | None, warm: bool, cancel_s: float | None) -> None:
        self.name = name
        self.kind = kind
        self.idle_s = idle_s
        self.warm = warm
        self.cancel_s = cancel_s
        self._attribute = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        runner, log, metrics = instance._tlsrt_programs, instance.log, instance._tlsrt_metrics
        pool = WorkerPool(self.name, runner, self.idle_s, log, metrics, self.cancel_s)
        found = vars(instance)[self._attribute] = Worker(pool, self._kind_in(owner))
        return found

    def _kind_in(self, owner: type) -> type | None:
        """Return the class of the worker as given or annotated; None if there is none at run time."""
        kind = self.kind if self.kind is not None else annotated_kind(self, self._attribute, owner)
        return kind if isinstance(kind, type) else None


class Worker:
    """A worker, as a component sees it: each public attribute is a function of it."""

    def __init__(self, pool: WorkerPool, kind: type | None) -> None:
        self._pool = pool
        self._kind = kind
        self._results: dict[str, tuple[bool, ParameterType] | None] = {}

    def __getattr__(self, name: str) -> WorkerFunction:
        if name.startswith("_"):
            raise AttributeError(name)
        return WorkerFunction(self._pool, name, self._result(name))

    def _result(self, name: str) -> tuple[bool, ParameterType] | None:
        if self._kind is None:
            return None
        if name not in self._results:
            found = result_of(self._kind, name)
            if found is None:
                guess = nearest(name, [one for one in dir(self._kind) if not one.startswith("_")])
                words = f", did you mean {guess!r}?" if guess else ""
                raise AttributeError(f"{self._kind.__name__} has no function {name!r}{words}")
            self._results[name] = found
        return self._results[name]

    def __repr__(self) -> str:
        return f"<worker {self._pool.name}>"


class WorkerFunction:
    """A function of a worker."""

    def __init__(self, pool: WorkerPool, name: str, result: tuple[bool, ParameterType] | None) -> None:
        self._pool = pool
        self._name = name
        self._result = result

    def __call__(self, *args: object, **kwargs: object) -> WorkerCall:
        values, named, upload = split_upload(self._name, args, kwargs)
        plain = {name: to_plain(value) for name, value in named.items()}
        work = WorkerTask(self._pool, self._name, [*map(to_plain, values)], plain, upload, self._result)
        return WorkerCall(work, f"{self._pool.name} {self._name}")


class WorkerCall:
    """One call: await it for its result, or iterate it if the function is a stream.

    Its iterator does not refer to it, so one that a caller drops ends at once, and not when garbage is collected.
    """

    def __init__(self, work: WorkerTask, what: str) -> None:
        self._work = work
        self._what = what
        self._is_begun = False
        self._items: AsyncGenerator[Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        self._is_begun = True
        return self._work.one().__await__()

    def __aiter__(self) -> AsyncGenerator[Any, None]:
        if self._items is None:
            self._is_begun = True
            self._items = self._work.values(is_stream=True)
        return self._items

    async def __anext__(self) -> Any:
        return await anext(aiter(self))

    async def aclose(self) -> None:
        """End the stream early."""
        await aiter(self).aclose()

    def __del__(self) -> None:
        if not self._is_begun:
            what = f"the call {self._what} was never awaited or iterated: it was not made"
            warnings.warn(what, RuntimeWarning, stacklevel=2)


class WorkerTask:
    """What a call asks of a worker."""

    def __init__(
        self, pool: WorkerPool, method: str, args: Sequence[object], kwargs: Mapping[str, object],
        parts: AsyncIterable[bytes] | None, result: tuple[bool, ParameterType] | None,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._method = method
        self._args = args
        self._kwargs = dict(kwargs)
        self._parts = parts
        self._result = result

    async def one(self) -> Any:
        """Return the result. Raises what `worker_of` says."""
        async for value in self.values(is_stream=False):
            result = value
        return result

    async def values(self, *, is_stream: bool) -> AsyncGenerator[Any, None]:
        """Yield the items of a stream, or the one result."""
        process = await self._pool.lend()
        loop = asyncio.get_running_loop()
        call_s = self._pool.limits.call_s
        late: asyncio.TimerHandle | None = None
        is_between_calls = True
        try:
            self._check(process, is_stream=is_stream)
            process.begin(self._method, self._args, self._kwargs, self._parts)
            is_between_calls = False
            late = loop.call_later(call_s, process.end, f"{self._method} took more than {call_s:g} s")
            while True:
                try:
                    frame = await process.next(self._method)
                except (Unavailable, DeadlineExceeded):
                    raise
                except TlsrtError:
                    is_between_calls = True  # the function has raised it
                    raise
                if is_stream != (frame.kind in (Kind.ITEM, Kind.END)):
                    raise process.broken("unexpected_kind")
                if frame.kind is not Kind.ITEM:
                    is_between_calls = True
                if frame.kind is Kind.END:
                    return
                value = self._checked_untrusted(process, frame.value)
                if frame.kind is Kind.RESULT:
                    yield value
                    return
                yield value
        finally:
            if late is not None and (is_between_calls or process.is_over):
                late.cancel()
            if process.is_over:
                self._pool.discard(process)
            elif is_between_calls or late is None:
                self._pool.give_back(process)
            else:
                self._pool.settle(process, late)

    def _check(self, process: WorkerProcess, *, is_stream: bool) -> None:
        """Refuse what the worker does not offer in this way. Raises NotFound, MisuseError."""
        offered = process.methods.get(self._method)
        if offered is None:
            guess = nearest(self._method, list(process.methods))
            words = f", did you mean {guess!r}?" if guess else ""
            raise NotFound(f"worker {self._pool.name} has no function {shown(self._method)}{words}")
        if offered[0] != is_stream:
            way = "a stream: iterate it" if offered[0] else "no stream: await it"
            raise MisuseError(f"worker {self._pool.name}: {self._method} is {way}")

    def _checked_untrusted(self, process: WorkerProcess, value: Any) -> Any:
        """Return a result or item as its declared type. For another one the process is over: raises Unavailable."""
        if self._result is None:
            return value
        try:
            return self._result[1].check(value)
        except Mismatch as error:
            raise process.broken(f"{self._method} returned another type{error.path}: {error.reason}") from None


def begin_workers(component: Any) -> None:
    """Begin the workers of a component that are to be warm. Raises MisuseError for one that is not declared."""
    for name in dir(type(component)):
        declared = getattr(type(component), name, None)
        if isinstance(declared, DeclaredWorker):
            worker: Worker = getattr(component, name)
            if worker._pool.limits and declared.warm:
                worker._pool.warm()


async def end_workers(component: Any) -> None:
    """End the workers of a component, when it has stopped."""
    for name, worker in list(vars(component).items()):
        if isinstance(worker, Worker) and isinstance(getattr(type(component), name, None), DeclaredWorker):
            await worker._pool.close()
