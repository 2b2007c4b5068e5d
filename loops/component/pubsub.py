"""Publish and subscribe: one bounded queue per subscriber, and a publisher that never waits.

`Mailbox` is the pure part: what a subscriber still has to get, and whether it missed something. A subscriber that
falls behind loses nothing silently: it gets what was queued, then Busy, and may subscribe again knowing that there is
a gap. Everything here belongs to the one thread of the event loop.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from tlsrt.errors import Busy, InvalidArgument
from tlsrt.loops.component.kept_topic import KeptTopic, position_untrusted

QUEUE_ITEMS = 256  # per subscriber; values are references, so this bounds what a sleeping subscriber keeps alive
SUBSCRIBERS = 256  # of one component
TOPICS_KEPT = 64  # for subscribers with a position


class Mailbox:
    """Queue of one subscriber: FIFO until it overflows or closes, then drained, then ended."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[Any] = deque()
        self._capacity = capacity
        self.overflowed = False
        self.closed = False

    def put(self, value: object) -> bool:
        """Queue a value; False if the subscriber's end has been reached, by overflow or by close."""
        if self.closed or self.overflowed:
            return False
        if len(self._items) >= self._capacity:
            self.overflowed = True
            return False
        self._items.append(value)
        return True

    def take(self) -> Any:
        """Return the next value; IndexError if there is none now."""
        return self._items.popleft()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def ended(self) -> bool:
        return not self._items and (self.closed or self.overflowed)


class LossyMailbox(Mailbox):
    """A queue that goes on behind a gap: where values are missing it gives {"dropped": how many}.

    For publishers whose subscribers may miss something as long as they know. After an overflow nothing is taken until
    half of the queue is free, so that what is missing is missing in whole stretches.
    """

    _dropped = 0

    def put(self, value: object) -> bool:
        if self.closed:
            return False
        if self._dropped or len(self._items) >= self._capacity:
            self._dropped += 1
        else:
            self._items.append(value)
        return True

    def take(self) -> Any:
        value = super().take()
        if self._dropped and len(self._items) <= self._capacity // 2:
            self._items.append({"dropped": self._dropped})
            self._dropped = 0
        return value


class Subscription:
    """The values of one topic from now on, as an async iterator; Busy ends it if it fell behind."""

    def __init__(self, pubsub: PubSub, topic: str, mailbox: Mailbox) -> None:
        self._pubsub = pubsub
        self.topic = topic
        self._mailbox = mailbox
        self._news = asyncio.Event()

    def put(self, value: object) -> bool:
        taken = self._mailbox.put(value)
        self._news.set()
        return taken

    def end(self) -> None:
        self._mailbox.closed = True
        self._news.set()

    def close(self) -> None:
        """End the subscription; an iteration that waits now ends."""
        self._pubsub.remove(self)
        self.end()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not len(self._mailbox):
            if self._mailbox.overflowed:
                raise Busy(f"subscriber to {self.topic!r} fell behind: events were lost after this point")
            if self._mailbox.closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._mailbox.take()


class PubSub:
    """The subscribers of one publisher, by topic: for streams of a component that choose what they tell.

        @handler
        async def watch(self, prefix: str) -> AsyncIterator[str]:
            with closing(self.changes.subscribe("keys")) as keys:  # contextlib
                async for key in keys:
                    if key.startswith(prefix):
                        yield key

    What everybody may hear is published with `Component.publish`, and takes none of this.
    """

    def __init__(
        self, capacity: int = QUEUE_ITEMS, subscribers: int = SUBSCRIBERS, mailbox: type[Mailbox] = Mailbox,
        new_life: Callable[[], str] = lambda: os.urandom(8).hex(),
    ) -> None:  # fmt: skip
        self._new_life = new_life
        self._kept: OrderedDict[str, KeptTopic] = OrderedDict()
        self._mailbox = mailbox
        self._topics: dict[str, list[Subscription]] = {}
        self._capacity = capacity
        self._subscribers = subscribers
        self._count = 0

    def subscribe(self, topic: str) -> Subscription:
        """Start to collect the values of a topic now. Raises Busy if there are as many subscribers as it may."""
        if self._count >= self._subscribers:
            raise Busy(f"too many subscribers: {self._subscribers}")
        subscription = Subscription(self, topic, self._mailbox(self._capacity))
        self._topics.setdefault(topic, []).append(subscription)
        self._count += 1
        return subscription

    def keep(self, topic: str) -> KeptTopic:
        """Keep the last values of a topic from now on; the topic that was so the longest may be forgotten for it."""
        kept = self._kept.get(topic)
        if kept is None:
            if len(self._kept) >= TOPICS_KEPT:
                self._kept.popitem(last=False)
            kept = self._kept[topic] = KeptTopic(self._new_life())
        return kept

    @property
    def is_lossy(self) -> bool:
        """Tell whether subscribers may miss values and go on."""
        return issubclass(self._mailbox, LossyMailbox)

    def publish(self, topic: str, value: object) -> int:
        """Give a value to every subscriber of the topic without waiting; returns how many took it."""
        taken = 0
        if self._kept and (kept := self._kept.get(topic)) is not None:
            kept.put(value)
        for subscription in list(self._topics.get(topic, ())):
            if subscription.put(value):
                taken += 1
            else:
                self.remove(subscription)
        return taken

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription; one that is not there is no error."""
        present = self._topics.get(subscription.topic, [])
        if subscription in present:
            present.remove(subscription)
            self._count -= 1
            if not present:
                del self._topics[subscription.topic]

    def close(self) -> None:
        """End every subscription after what it has queued; it can be used again."""
        for topic in list(self._topics):
            for subscription in list(self._topics[topic]):
                subscription.close()

    def __len__(self) -> int:
        return self._count


async def now_on(pubsub: PubSub, topic: str) -> AsyncGenerator[Any, None]:
    """The values of a topic from now on. Raises Busy if the subscriber fell behind."""
    subscription = pubsub.subscribe(topic)
    try:
        async for value in subscription:
            yield value
    finally:
        subscription.close()


async def numbered(pubsub: PubSub, topic: str, since: str) -> AsyncGenerator[dict[str, Any], None]:
    """The values of a topic behind a position, each with its own: {"at": position, "event": value}.

    The first item says where it begins and what is missing: {"at": position, "gap": how many, -1: it cannot be told}.
    Raises InvalidArgument for a position that is none, and Busy if the subscriber fell behind.
    """
    position = position_untrusted(since)
    if pubsub.is_lossy:
        raise InvalidArgument("since: this topic has no positions; subscribe without one")
    kept = pubsub.keep(topic)
    subscription = pubsub.subscribe(topic)
    try:
        at, gap, values = kept.since(position)
        yield {"at": str(at), "gap": gap}
        for value in values:
            at = at._replace(number=at.number + 1)
            yield {"at": str(at), "event": value}
        async for value in subscription:
            at = at._replace(number=at.number + 1)
            yield {"at": str(at), "event": value}
    finally:
        subscription.close()
