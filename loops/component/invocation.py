"""Call a method of a component: find it, check the request, run it as its caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, cast

from tlsrt.errors import InternalError, InvalidArgument, NotFound
from tlsrt.loops.component.caller import CALLER
from tlsrt.loops.component.component import BUILTIN, Component
from tlsrt.loops.component.method import MethodSpec, nearest
from tlsrt.loops.component.types import shown, to_plain, type_name


def find_method(component: Component, method: str) -> MethodSpec:
    """Return the spec of a method, built in or not; NotFound says the nearest name."""
    spec = type(component).__tlsrt_methods__.get(method) or BUILTIN.get(method)
    if spec is None:
        guess = nearest(method, [*type(component).__tlsrt_methods__, *BUILTIN])
        raise NotFound(f"no method {shown(method)}" + (f", did you mean {guess!r}?" if guess else ""))
    return spec


def invoke(
    component: Component,
    method: str,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    subject: str,
    upload: AsyncIterator[bytes] | None = None,
) -> Awaitable[object] | AsyncIterator[object]:
    """Check a request and return what to await, or, for a streaming method, what to iterate.

    Raises InvalidArgument or NotFound at once; nothing of the component has run then. Close (`aclose`) a stream that
    is not iterated to its end. What the handler raises comes out as it is.
    """
    spec = find_method(component, method)
    bound = spec.bind(args, kwargs)
    if spec.upload_name is not None:
        if upload is None:
            raise InvalidArgument(f"missing parameter: {spec.upload_name} (a stream of bytes)")
        bound[spec.upload_name] = _checked_upload(spec.upload_name, upload)
    elif upload is not None:
        raise InvalidArgument(f"{method} takes no upload stream")
    if spec.stream:
        return _stream(spec, spec.function(component, **bound), subject)
    return _result(spec, component, bound, subject)


def run_at_once(component: Component, spec: MethodSpec, args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    """Run a handler that awaits nothing here and now, and return its result: a task would cost more than most do.

    Raises InvalidArgument before anything has run; what the handler raises comes out as it is.
    """
    if kwargs or spec.checks is None or len(args) != len(spec.checks):
        work = spec.function(component, **spec.bind(args, kwargs))
    else:
        work = spec.function(component, *spec.checked(args))
    try:
        work.send(None)
    except StopIteration as end:
        return to_plain(end.value) if spec.returns.structured else end.value
    work.close()
    raise InternalError(f"{spec.name} awaits, but was taken for a method that does not")


async def _result(spec: MethodSpec, component: Component, bound: Mapping[str, Any], subject: str) -> object:
    token = CALLER.set(subject)
    try:
        result: object = await spec.function(component, **bound)
    finally:
        CALLER.reset(token)
    return to_plain(result) if spec.returns.structured else result


async def _stream(spec: MethodSpec, items: AsyncGenerator[object], subject: str) -> AsyncIterator[object]:
    """Run the generator step by step: its context is that of its consumer, so the caller is set for each step."""
    try:
        while True:
            token = CALLER.set(subject)
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            finally:
                CALLER.reset(token)
            yield to_plain(item) if spec.returns.structured else item
    finally:
        await items.aclose()


async def _checked_upload(name: str, upload: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    index = 0
    async for chunk in cast("AsyncIterator[object]", upload):
        if type(chunk) is not bytes:
            raise InvalidArgument(f"{name}[{index}]: expected bytes, got {type_name(chunk)}")
        yield chunk
        index += 1
