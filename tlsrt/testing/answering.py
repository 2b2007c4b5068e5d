"""What answers calls in a test: the component, by the checks of the runtime, and the peers that the test gives it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tlsrt.channels.clock import boottime_ms
from tlsrt.errors import CallError, Denied, InvalidArgument, NotFound
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.invocation import find_method, invoke
from tlsrt.loops.component.types import to_plain
from tlsrt.loops.dispatch.faults import Faults
from tlsrt.testing.conversation import Request


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that the component has made: `target` and `method`, and the arguments as they arrived."""

    target: str
    method: str
    args: list[Any]
    kwargs: dict[str, Any]


def answer_of(component: Component, request: Request) -> Awaitable[object] | AsyncIterator[object]:
    """Begin a request to a component as its process does. Raises CallErrors."""
    spec = find_method(component, request.method)
    if spec.stream != request.is_stream:
        raise InvalidArgument(
            f"{request.method} is a stream of items: iterate it" if spec.stream
            else f"{request.method} is not a stream: call it"
        )  # fmt: skip
    return invoke(component, request.method, request.args, request.kwargs, subject=request.caller, upload=request.parts)


class ComponentAnswers:
    """Answers for the component that is tested."""

    def __init__(self, component: Component, address: str, log: logging.Logger) -> None:
        self._component = component
        self._faults = Faults(address, log, boottime_ms)

    def begin(self, request: Request) -> Awaitable[object] | AsyncIterator[object]:
        return answer_of(self._component, request)

    def fold(self, request: Request | None, error: BaseException) -> CallError:
        return self._faults.fold(request.method if request is not None else "request", error)


class PeerAnswers:
    """Answers for the peers: components, objects with methods of these names, or mappings of names to functions.

    `sent` are the calls in their order. What a peer raises beside a CallError is a fault of the test, kept in `faults`:
    the component sees it as `failed`, and may well go on.
    """

    def __init__(self, peers: Mapping[str, object]) -> None:
        self._peers = peers
        self.sent: list[Sent] = []
        self.faults: list[BaseException] = []

    def begin(self, request: Request) -> Awaitable[object] | AsyncIterator[object]:
        self.sent.append(Sent(request.target, request.method, request.args, request.kwargs))
        peer = self._peers.get(request.target)
        if peer is None:
            raise Denied(f"the test gives no peer {request.target}: add it to `peers`")
        if isinstance(peer, Component):
            return answer_of(peer, request)
        function = _function_of(peer, request)
        result = function(*request.args, **request.kwargs, **_upload_of(function, request))
        return _items(result) if request.is_stream else _plain(result)

    def fold(self, request: Request | None, error: BaseException) -> CallError:
        self.faults.append(error)
        where = f"{request.target} {request.method}" if request is not None else "a peer"
        return CallError(f"{where} failed; the reason is in its log")


def _function_of(peer: object, request: Request) -> Callable[..., Any]:
    name = request.method
    function: object = peer.get(name) if isinstance(peer, Mapping) else getattr(peer, name, None)
    if name.startswith("_") or not callable(function):
        raise NotFound(f"the peer {request.target} of the test has no method {name}")
    return cast("Callable[..., Any]", function)


def _upload_of(function: Callable[..., Any], request: Request) -> dict[str, object]:
    """Give an upload to the last parameter, as for a handler."""
    if request.parts is None:
        return {}
    return {list(inspect.signature(function).parameters)[-1]: request.parts}


async def _plain(result: Any) -> object:
    return to_plain(await result if inspect.isawaitable(result) else result)


async def _items(result: Any) -> AsyncIterator[object]:
    if isinstance(result, AsyncIterable):
        async for item in result:
            yield to_plain(item)
    elif isinstance(result, Iterable):
        for item in result:
            yield to_plain(item)
    else:
        raise TypeError(f"a stream of a peer is an iterable, not a {type(result).__name__}")
