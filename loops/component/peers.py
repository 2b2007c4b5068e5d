"""Peers of a component: `kernel = peer("primary/kernel")`, a typed proxy for what another component offers.

A call through it waits for a peer that comes again, but only where it has surely not run: its request was never
written, or the runtime of the peer has said, sealed, that it is away. That is the retry policy of all calls
(channels/calls/retry.py), told how long. A `busy` of the peer may come from its handler, which had begun. Where the
gate alone refuses, nothing is sure, and only a method that may run twice is called again: then the request has an
idempotency key, until its deadline.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar, overload

from tlsrt.channels.calls.caller import new_idempotency_key
from tlsrt.channels.calls.retry import Retry
from tlsrt.errors import CallError, MisuseError
from tlsrt.loops.component.declared import annotated_kind, split_upload
from tlsrt.loops.component.method import MARK, nearest
from tlsrt.loops.component.port import Port

WAIT_S = 5.0
WAIT_MAX_S = 300.0
Kind = TypeVar("Kind")


@overload
def peer(address: str, *, wait_s: float = WAIT_S, timeout_s: float = 30.0, idempotent: Sequence[str] = ()) -> Any: ...
@overload
def peer(
    address: str, kind: Callable[..., Kind], *, wait_s: float = WAIT_S, timeout_s: float = 30.0,
    idempotent: Sequence[str] = (),
) -> Kind: ...  # fmt: skip
def peer(
    address: str, kind: Any = None, *, wait_s: float = WAIT_S, timeout_s: float = 30.0, idempotent: Sequence[str] = ()
) -> Any:
    """Declare another component in the body of a class; its methods are called as they are written there.

    With a class or Protocol (`peer("primary/kernel", Kernel)`, or `kernel: Kernel = peer(...)`) mypy knows their types,
    and methods with `@handler(idempotent=True)` are repeated after a lost answer; else `idempotent` names these. A call
    waits up to `wait_s` for a peer that is away or not ready, and has `timeout_s` in all. Policy must allow each.

        class Report(Component):
            kernel = peer("primary/kernel")

            @handler
            async def release(self) -> str:
                return (await self.kernel.uname())["release"]

    `async for item in self.camera.frames()` iterates a stream; an async iterator among the arguments is an upload.
    """
    loop, slash, name = address.partition("/") if isinstance(address, str) else ("", "", "")
    if not (loop and slash and name) or "/" in name:
        raise MisuseError(f"cannot have the peer {address!r}: write LOOP/NAME, as in peer('primary/kernel')")
    if not 0 <= wait_s <= WAIT_MAX_S:
        raise MisuseError(f"cannot wait {wait_s} s for a peer: write wait_s from 0 to {WAIT_MAX_S:g}")
    return DeclaredPeer(address, kind, wait_s, timeout_s, tuple(idempotent))


class DeclaredPeer:
    """A peer in the body of a class; a component has a Peer there."""

    def __init__(self, address: str, kind: Any, wait_s: float, timeout_s: float, idempotent: tuple[str, ...]) -> None:
        self.address = address
        self.kind = kind
        self.wait_s = wait_s
        self.timeout_s = timeout_s
        self.idempotent = idempotent
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        found = vars(instance)[self._name] = Peer(self, self._kind_in(owner), instance.port)  # the next time it is this
        return found

    def _kind_in(self, owner: type) -> Any:
        """Return the class of the peer as given or annotated; None if its name says nothing at run time."""
        return self.kind if self.kind is not None else annotated_kind(self, self._name, owner)


class Peer:
    """Another component, as a component sees it: each public attribute is a method of it."""

    def __init__(self, declared: DeclaredPeer, kind: Any, port: Port) -> None:
        self._declared = declared
        self._kind = kind if isinstance(kind, type) else None
        self._port = port

    def __getattr__(self, name: str) -> PeerMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        known = getattr(self._kind, name, None) if self._kind is not None else None
        if self._kind is not None and known is None:
            names = [one for one in dir(self._kind) if not one.startswith("_")]
            guess = nearest(name, names)
            words = f", did you mean {guess!r}?" if guess else ""
            raise AttributeError(f"{self._declared.address} has no method {name!r}{words}")
        is_idempotent = name in self._declared.idempotent or getattr(known, MARK, False) is True
        return PeerMethod(self._declared, self._port, name, is_idempotent)

    def __repr__(self) -> str:
        return f"<peer {self._declared.address}>"


class PeerMethod:
    """A method of a peer."""

    def __init__(self, declared: DeclaredPeer, port: Port, name: str, is_idempotent: bool) -> None:
        self._declared = declared
        self._port = port
        self._name = name
        self._is_idempotent = is_idempotent

    def __call__(self, *args: object, **kwargs: object) -> PeerCall:
        values, named, upload = split_upload(self, args, kwargs)
        parts = Parts(upload) if upload is not None else None
        return PeerCall(self._declared, self._port, self._name, values, named, parts, self._is_idempotent)

    def __str__(self) -> str:
        return f"{self._declared.address} {self._name}"


class Parts:
    """An upload, which can be sent again as long as nothing of it was taken."""

    def __init__(self, parts: AsyncIterable[bytes]) -> None:
        self._parts = aiter(parts)
        self.is_taken = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.is_taken = True
        return await anext(self._parts)


class PeerCall(Coroutine[Any, Any, Any]):
    """One call: await it for its result, or iterate it if the method is a stream."""

    def __init__(
        self, declared: DeclaredPeer, port: Port, method: str, args: Sequence[object], kwargs: dict[str, object],
        parts: Parts | None, is_idempotent: bool,
    ) -> None:  # fmt: skip
        self._declared = declared
        self._port = port
        self._method = method
        self._args = args
        self._kwargs = kwargs
        self._parts = parts
        self._is_idempotent = is_idempotent
        self._work: Coroutine[Any, Any, Any] | None = None
        self._items: AsyncGenerator[Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    @overload
    def throw(
        self, typ: type[BaseException], val: BaseException | object = ..., tb: TracebackType | None = ..., /
    ) -> Any: ...
    @overload
    def throw(self, typ: BaseException, val: None = ..., tb: TracebackType | None = ..., /) -> Any: ...
    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any:
        return self._begun().throw(typ if val is None else val)

    def close(self) -> None:
        self._begun().close()

    def __aiter__(self) -> AsyncGenerator[Any, None]:
        if self._items is None:
            self._items = self._stream()
        return self._items

    async def __anext__(self) -> Any:
        return await anext(aiter(self))

    async def aclose(self) -> None:
        """End the stream early."""
        await aiter(self).aclose()

    def __del__(self) -> None:
        if self._work is None and self._items is None:
            what = f"the call {self._declared.address} {self._method} was never awaited or iterated: it was not made"
            warnings.warn(what, RuntimeWarning, stacklevel=2)

    def _begun(self) -> Coroutine[Any, Any, Any]:
        if self._work is None:
            self._work = self._result() if self._parts is None else self._sent(self._parts)
        return self._work

    async def _result(self) -> Any:
        key = new_idempotency_key() if self._is_idempotent else None
        declared = self._declared
        return await self._port.call(
            declared.address, self._method, self._args, self._kwargs, timeout_s=declared.timeout_s,
            idempotency_key=key, wait_s=declared.wait_s,
        )  # fmt: skip

    async def _sent(self, parts: Parts) -> Any:
        attempts = _Attempts(self._declared)
        while True:
            try:
                return await self._port.upload(
                    self._declared.address, self._method, parts, self._args, self._kwargs, timeout_s=attempts.left_s
                )
            except CallError as error:
                if parts.is_taken or not attempts.may_follow(error):
                    raise
            await attempts.pause()

    async def _stream(self) -> AsyncGenerator[Any, None]:
        attempts, has_begun = _Attempts(self._declared), False
        while True:
            try:
                async with aclosing(self._opened(attempts.left_s)) as items:
                    async for item in items:
                        has_begun = True
                        yield item
                return
            except CallError as error:
                is_taken = self._parts is not None and self._parts.is_taken
                if has_begun or is_taken or not attempts.may_follow(error):
                    raise
            await attempts.pause()

    def _opened(self, timeout_s: float) -> Any:
        address, port = self._declared.address, self._port
        if self._parts is None:
            return port.stream(address, self._method, self._args, self._kwargs, timeout_s=timeout_s)
        return port.exchange(address, self._method, self._parts, self._args, self._kwargs, timeout_s=timeout_s)


class _Attempts:
    """The attempts of one stream or upload, which have `timeout_s` and `wait_s` together."""

    def __init__(self, declared: DeclaredPeer) -> None:
        self._retry = Retry(None, wait_s=declared.wait_s)
        self._now = asyncio.get_running_loop().time
        self._until = self._now() + declared.timeout_s
        self._wait_until = self._now() + declared.wait_s

    @property
    def left_s(self) -> float:
        return max(self._until - self._now(), 0.001)

    def may_follow(self, error: CallError) -> bool:
        ends = min(self._until, self._wait_until)
        return self._retry.may_follow(error, b"", 0) and self._now() + self._retry.pause_s < ends

    async def pause(self) -> None:
        await asyncio.sleep(self._retry.pause_s)
        self._retry.wait()
