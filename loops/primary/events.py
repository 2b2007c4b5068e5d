"""The events of the host, for subscribers allowed by policy.

The supervisor sends them by way of the authority, so what is told here went through no other loop. It is Primary that
tells it: a captured Primary may leave out or invent events for its subscribers, but not for operators, who ask the
supervisor itself.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any, ClassVar

from tlsrt.channels.frames.body import PackedList, pack_value
from tlsrt.errors import Unavailable
from tlsrt.loops.component.component import Component, handler
from tlsrt.loops.component.kept_topic import POSITION_MAX, UNKNOWN, Position, position_untrusted
from tlsrt.loops.component.pubsub import LossyMailbox, PubSub
from tlsrt.loops.component.surroundings import give
from tlsrt.loops.component.validate import Length, Range
from tlsrt.loops.gate.called import CalledMethods

KEPT = 256
KINDS = ("lifecycle", "session", "security", "health", "program")
SEQ_MAX = 1 << 53
CALLED_MOST, CALLED_PAGE = 4096, 768
Since = Annotated[str, Length(POSITION_MAX)] | None  # a position, as those who follow give it


class Events(Component):
    """What happens to the processes, sessions and rights of this host, as `tlsrt-supervisor events` tells it.

    The first item of a stream is {"after": n}: all later events of its kind follow, or {"dropped": n} where some are
    missing since they were not read in time. A stream ends at its deadline: go on with a new one, and with
    `recent(since)` for what lies between; it knows the last 256 events.
    """

    class Options:
        """There are none."""

    topics: ClassVar[Mapping[str, str]] = {f"host.{kind}": f"the events of kind {kind}" for kind in KINDS}

    def __init__(self) -> None:
        give(self, _pubsub=PubSub(mailbox=LossyMailbox))
        self._kept: deque[tuple[dict[str, Any], bytes]] = deque(maxlen=KEPT)  # packed once: Primary has no time for it
        self._called: CalledMethods | None = None
        self._since_ms = 0
        self._boot = ""
        self._last = 0

    def count_by(self, called: CalledMethods) -> None:
        """Tell from now on what this gate counts."""
        self._called, self._since_ms = called, time.time_ns() // 1_000_000

    def take(self, lines: Sequence[object]) -> None:
        """Take events from the authority, one line of JSON each; those that are known already are passed over."""
        for line in lines:
            if isinstance(line, bytes):
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        seq, boot = event["seq"], event["boot"]
        if boot == self._boot and seq <= self._last:
            return
        if boot == self._boot and seq > self._last + 1:
            for topic in self.topics:
                self.publish(topic, {"dropped": seq - self._last - 1})
        self._boot, self._last = boot, seq
        self._kept.append((event, pack_value(event)))
        self.publish(f"host.{event['kind']}", event)

    @handler(idempotent=True)
    async def recent(self, since: Annotated[int, Range(0, SEQ_MAX)] = 0) -> list[dict[str, Any]]:
        """The last events, of all kinds, with a number above `since`."""
        return PackedList(kept for kept in self._kept if kept[0]["seq"] > since)

    @handler(idempotent=True)
    async def called(self, first: Annotated[int, Range(0, CALLED_MOST)] = 0) -> dict[str, Any]:
        """Who has called what since this Primary began, `calls` and `refused` by policy, from a place on; by caller.

        `next` is where to go on, null at the end. `rest` counts what has no place: a caller has 256 of 2048. Methods
        are the words of callers, also of those that were refused.
        """
        counted = self._called
        if counted is None:
            raise Unavailable("Primary has just begun: try again")
        rows = sorted(counted)
        some = [list(row) for row in rows[first : first + CALLED_PAGE]]
        more = first + CALLED_PAGE
        return {
            "since": self._since_ms, "called": some, "next": more if more < len(rows) else None,
            "rest": {"calls": counted.rest.calls, "refused": counted.rest.refused},
        }  # fmt: skip

    @handler
    async def lifecycle(self, since: Since = None) -> AsyncIterator[dict[str, Any]]:
        """From now on: processes are started, attested, active, draining, dead, given up; reloads; the end."""
        async with aclosing(self._told("lifecycle", since)) as events:
            async for event in events:
                yield event

    @handler
    async def session(self, since: Since = None) -> AsyncIterator[dict[str, Any]]:
        """From now on: sessions are opened, closed, expired, revoked; clients are refused at the door."""
        async with aclosing(self._told("session", since)) as events:
            async for event in events:
                yield event

    @handler
    async def security(self, since: Since = None) -> AsyncIterator[dict[str, Any]]:
        """From now on: violations, differences of attestation, offences, anomalies, revocations, epochs."""
        async with aclosing(self._told("security", since)) as events:
            async for event in events:
                yield event

    @handler
    async def health(self, since: Since = None) -> AsyncIterator[dict[str, Any]]:
        """From now on: heartbeats that are late or missing, components that say that they are not well."""
        async with aclosing(self._told("health", since)) as events:
            async for event in events:
                yield event

    @handler
    async def program(self, since: Since = None) -> AsyncIterator[dict[str, Any]]:  # type: ignore[override]
        """From now on: programs of components end, fail, or make a forbidden call."""
        async with aclosing(self._told("program", since)) as events:
            async for event in events:
                yield event

    def _told(self, kind: str, since: str | None) -> AsyncGenerator[dict[str, Any], None]:
        return self._from_now(f"host.{kind}") if since is None else self._since(kind, since)

    async def _from_now(self, topic: str) -> AsyncGenerator[dict[str, Any], None]:
        subscription = self._pubsub.subscribe(topic)
        try:
            yield {"after": self._last}
            async for event in subscription:
                yield event
        finally:
            subscription.close()

    async def _since(self, kind: str, since: str) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a kind behind a position, as `pubsub.numbered` has them. Numbers are those of all kinds."""
        position = position_untrusted(since)
        if not self._boot:  # Primary has just begun, and is told the last events in a moment
            raise Unavailable("the events of this host are not here yet: try again")
        subscription = self._pubsub.subscribe(f"host.{kind}")
        try:
            last, gap, events = self._missed(kind, position)
            yield {"at": str(Position(self._boot, last)), "gap": gap}
            for event in events:
                last = event["seq"]
                yield {"at": str(Position(self._boot, last)), "event": event}
            async for event in subscription:
                if "dropped" in event:
                    yield {"at": str(Position(self._boot, last)), "gap": event["dropped"]}
                elif event["seq"] > last:
                    last = event["seq"]
                    yield {"at": str(Position(self._boot, last)), "event": event}
        finally:
            subscription.close()

    def _missed(self, kind: str, position: Position | None) -> tuple[int, int, list[dict[str, Any]]]:
        """Return where to go on, how many are missing (of all kinds), and the events that are kept."""
        if position is None:
            return self._last, 0, []
        is_known = position.life == self._boot
        number = position.number if is_known else 0
        kept = [event for event, _ in self._kept if event["seq"] > number]
        missing = max(0, kept[0]["seq"] - number - 1) if kept else 0
        return number, missing if is_known else UNKNOWN, [event for event in kept if event["kind"] == kind]
