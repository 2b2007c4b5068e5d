"""The events of a host for one client, without gaps that are not told and without repetitions.

Theory of operation. `primary/events` has one stream for each kind, and `recent` for what was before. Both overlap on
purpose: the streams are open before `recent` is asked, and a `Journal` passes over what was told already. When a
stream ends (a lost connection, a new Primary, a new host) all are opened again. What comes is a captured Primary's at
the worst, so no item is believed to be an event before it was checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeGuard

from tlsrt.backoff import Backoff
from tlsrt.channels.calls.resumption import CAP_S, FIRST_S, passes, resumed
from tlsrt.errors import CallError, Denied, OutcomeUnknown, StreamBroken, Unavailable

TARGET = "primary/events"
KINDS = ("lifecycle", "session", "security", "health", "program")
QUEUED = 256
Event = Mapping[str, Any]


class EventSource(Protocol):
    """What is needed of an AsyncClient."""

    @property
    def rights(self) -> dict[str, tuple[str, ...]]: ...

    @property
    def subject(self) -> str: ...

    @property
    def waits_for_unlock(self) -> bool: ...

    async def call(self, target: str, method: str, /, *args: object, timeout_s: float, idempotent: bool) -> Any: ...

    def stream(self, target: str, method: str, /, *, timeout_s: float) -> AsyncGenerator[Any, None]: ...


class Journal:
    """What was told already: of each kind the last number in this life of the host. Pure."""

    def __init__(self, kinds: Iterable[str], since: int = 0) -> None:
        self._kinds = frozenset(kinds)
        self._since = since
        self._boot: str | None = None
        self._last: dict[str, int] = {}
        self.last = since  # the highest number of this life

    def take(self, item: object) -> bool:
        """Whether this item is to be told: an event of a wanted kind that is new, or a gap."""
        if not isinstance(item, Mapping):
            return False
        if is_count(item.get("dropped")):
            return True
        seq, kind, boot = item.get("seq"), item.get("kind"), item.get("boot")
        if not is_count(seq) or not isinstance(kind, str) or not isinstance(boot, str) or kind not in self._kinds:
            return False
        if boot != self._boot:
            if self._boot is not None:  # numbers begin anew in each life
                self._since = self.last = 0
            self._boot, self._last = boot, {}
        if seq <= self._last.get(kind, self._since):
            return False
        self._last[kind] = seq
        self.last = max(self.last, seq)
        return True

    def missing(self, events: Sequence[object]) -> int:
        """Return how many events lie between what was told and the first of these, which are all that are kept."""
        first: object = events[0] if events else None
        seq = first.get("seq") if isinstance(first, Mapping) and first.get("boot") == self._boot else None
        if not is_count(seq):
            return 0
        return max(0, seq - self.last - 1)


def is_count(value: object) -> TypeGuard[int]:
    """Whether this is a number of an event, or of events."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63


def may_hear(source: EventSource, kinds: Sequence[str], *, live: bool) -> tuple[str, ...]:
    """Return the kinds to hear: those asked for, or all that are allowed. Raises Denied with what to do."""
    methods = source.rights.get(TARGET, ())
    allowed = KINDS if "*" in methods else tuple(kind for kind in KINDS if kind in methods)
    needed = [*(kind for kind in kinds if kind not in allowed)] if live else []
    if not live and not may_look_back(source):
        needed.append("recent")
    if needed or (live and not allowed):
        wanted = ", ".join(needed or (*KINDS, "recent"))
        raise Denied(
            f'this client may not hear these events: a policy line such as "{source.subject} -> {TARGET}": '
            f"[{wanted}] lets it"
        )
    return tuple(kinds) or (allowed if live else KINDS)


def may_look_back(source: EventSource) -> bool:
    return not {"recent", "*"}.isdisjoint(source.rights.get(TARGET, ()))


async def look_back(source: EventSource, journal: Journal, timeout_s: float) -> list[Event]:
    """Return what is kept and was not told yet, with {"dropped": n} in front if some are missing."""
    kept = await source.call(TARGET, "recent", timeout_s=timeout_s, idempotent=True)
    events = kept if isinstance(kept, list) else []
    missing = journal.missing(events)
    told = [event for event in events if journal.take(event)]
    return [{"dropped": missing}, *told] if missing else told


async def follow(
    source: EventSource, kinds: Sequence[str], journal: Journal, patience_s: float
) -> AsyncGenerator[Event, None]:
    """Yield events as they happen, first those that are kept, also over breaks and new lives of the host.

    Raises a CallError that will not pass, or Unavailable when the host was away for `patience_s`.
    """
    loop = asyncio.get_running_loop()
    backoff = Backoff(FIRST_S, CAP_S)
    heard_at = loop.time()

    async def opened() -> AsyncGenerator[Event, None]:
        nonlocal heard_at
        async with aclosing(_opened(source, kinds, journal, patience_s)) as events:
            async for event in events:
                heard_at = loop.time()
                backoff.reset()
                if event:
                    yield event

    def on_break(error: CallError) -> None:
        nonlocal heard_at
        if not passes(error):
            raise error
        if source.waits_for_unlock:
            heard_at = loop.time()
        if loop.time() - heard_at >= patience_s:
            raise Unavailable(
                f"the host was away for {patience_s:g} s; go on with --since {journal.last}: {error.message}"
            ) from None

    async with aclosing(resumed(opened, backoff, on_break)) as events:
        async for event in events:
            yield event


async def _opened(
    source: EventSource, kinds: Sequence[str], journal: Journal, timeout_s: float
) -> AsyncGenerator[Event, None]:
    """Open the stream of each kind; yield {} when all are open, then what was before, then what comes."""
    queue: asyncio.Queue[object] = asyncio.Queue(QUEUED)
    tasks = [asyncio.ensure_future(_feed(source, kind, queue, timeout_s)) for kind in kinds]
    try:
        early: list[object] = []
        waiting = len(kinds)
        while waiting:
            item = await _within(queue, timeout_s)
            if isinstance(item, Mapping) and "after" in item:
                waiting -= 1
            else:
                early.append(item)
        yield {}
        if may_look_back(source):
            for event in await look_back(source, journal, timeout_s):
                yield event
        for item in early:
            if isinstance(item, Mapping) and journal.take(item):
                yield item
        while True:
            item = _raised(await queue.get())
            if isinstance(item, Mapping) and journal.take(item):
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _within(queue: asyncio.Queue[object], timeout_s: float) -> object:
    try:
        async with asyncio.timeout(timeout_s):
            return _raised(await queue.get())
    except TimeoutError:
        raise OutcomeUnknown(f"{TARGET} began no stream in time") from None


def _raised(item: object) -> object:
    if isinstance(item, BaseException):
        raise item
    return item


async def _feed(source: EventSource, kind: str, queue: asyncio.Queue[object], timeout_s: float) -> None:
    """Put the items of one stream into the queue, and at last why it ended."""
    end: BaseException = StreamBroken(f"the stream of {kind} events has ended")
    try:
        stream: AsyncIterator[Any] = source.stream(TARGET, kind, timeout_s=timeout_s)
        async with aclosing(stream) as items:  # type: ignore[type-var] # it is an async generator
            async for item in items:
                await queue.put(item)
    except CallError as error:
        end = error
    await queue.put(end)
