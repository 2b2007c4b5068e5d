"""The hub: order, overflow, ends, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tlsrt.errors import Busy
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.invocation import invoke
from tlsrt.loops.component.pubsub import QUEUE_ITEMS, Mailbox, PubSub


def test_mailbox_gives_what_came_before_the_overflow_then_ends() -> None:
    mailbox = Mailbox(2)
    assert [mailbox.put(number) for number in range(4)] == [True, True, False, False]
    assert not mailbox.ended
    assert [mailbox.take(), mailbox.take()] == [0, 1]
    assert mailbox.ended
    assert not mailbox.put(9), "a gap must never be closed over"
    with pytest.raises(IndexError):
        mailbox.take()


async def _collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


def test_every_subscriber_gets_its_topic_in_order() -> None:
    async def scene() -> list[list[Any]]:
        hub = PubSub()
        streams = [hub.subscribe("a"), hub.subscribe("a"), hub.subscribe("b")]
        assert hub.publish("a", 1) == 2
        assert hub.publish("b", 2) == 1
        assert hub.publish("c", 3) == 0
        hub.publish("a", 4)
        hub.close()
        assert len(hub) == 0
        return [await _collect(stream) for stream in streams]

    assert asyncio.run(scene()) == [[1, 4], [1, 4], [2]]


def test_a_slow_subscriber_ends_with_busy_and_harms_nobody() -> None:
    async def scene() -> None:
        hub = PubSub(capacity=3)
        slow = hub.subscribe("a")
        fast = hub.subscribe("a")
        for number in range(5):
            hub.publish("a", number)
            assert await anext(fast) == number
        assert len(hub) == 1, "the slow one is forgotten at once"
        assert [await anext(slow) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(Busy, match="fell behind"):
            await anext(slow)
        hub.close()
        assert await _collect(fast) == []

    asyncio.run(scene())


def test_a_waiting_subscriber_wakes_for_news_and_for_the_end() -> None:
    async def scene() -> None:
        hub = PubSub()
        subscription = hub.subscribe("a")
        waiting = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
        hub.publish("a", "news")
        assert await waiting == "news"
        waiting = asyncio.ensure_future(_collect(subscription))
        await asyncio.sleep(0)
        subscription.close()
        assert await waiting == []
        subscription.close()
        assert len(hub) == 0

    asyncio.run(scene())


def test_subscribers_are_bounded() -> None:
    hub = PubSub(subscribers=2)
    first = hub.subscribe("a")
    hub.subscribe("b")
    with pytest.raises(Busy, match="too many subscribers: 2"):
        hub.subscribe("a")
    first.close()
    hub.subscribe("a")


def test_overflow_reaches_a_subscriber_of_a_component_as_busy() -> None:
    async def scene() -> None:
        component = Component()
        events = cast("AsyncIterator[Any]", invoke(component, "subscribe", ["a"], {}, subject="client/a"))
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        for number in range(QUEUE_ITEMS + 1):
            component.publish("a", number)
        assert await first == 0
        assert [await anext(events) for _ in range(QUEUE_ITEMS - 1)] == list(range(1, QUEUE_ITEMS))
        with pytest.raises(Busy):
            await anext(events)

    asyncio.run(scene())


def test_a_cancelled_subscriber_leaves_the_hub() -> None:
    async def scene() -> None:
        component = Component()
        events = cast("AsyncIterator[Any]", invoke(component, "subscribe", ["a"], {}, subject="client/a"))
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert len(component._pubsub) == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(component._pubsub) == 0

    asyncio.run(scene())
