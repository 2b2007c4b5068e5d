"""Following a topic: numbered values, no doubles, and a gap that cannot be closed is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import CallError, Denied, Failed, InvalidArgument, OutcomeUnknown, Unavailable
from tlsrt.loops.component.follow import Followed, Gap
from tlsrt.loops.component.kept_topic import UNKNOWN, KeptTopic, Position, position_untrusted
from tlsrt.loops.component.pubsub import PubSub, numbered


@given(st.integers(1, 9), st.lists(st.sampled_from(["put", "read", "restart"]), max_size=60))
def test_a_reader_that_comes_and_goes_hears_each_value_once_or_of_a_gap(most: int, steps: list[str]) -> None:
    life, value = 0, 0
    topic = KeptTopic("0", most)
    at = topic.now
    due: list[int] = []  # put since the last read, in this life
    is_new_life = False
    for step in steps:
        if step == "put":
            value += 1
            topic.put(value)
            due.append(value)
        elif step == "restart":
            life += 1
            topic, due, is_new_life = KeptTopic(str(life), most), [], True
        else:
            begins, gap, values = topic.since(at)
            if is_new_life:
                assert (gap, values) == (UNKNOWN, [])
            else:
                assert values == due[-most:] and gap == len(due) - len(values)
                assert begins.number == at.number + gap
            at, due, is_new_life = topic.now, [], False


@pytest.mark.parametrize("text", ["x", "a:", ":1", "a:-1", "a:1:2", "a b:1", "a:" + "1" * 17, "a" * 65 + ":1", "é:1"])
def test_a_position_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="since: expected a position"):
        position_untrusted(text)


@given(st.text(max_size=30))
def test_any_text_is_a_position_or_the_one_error(text: str) -> None:
    try:
        found = position_untrusted(text)
    except InvalidArgument:
        return
    assert found is None or position_untrusted(str(found)) == found


def test_an_empty_text_is_from_now_on_and_a_number_that_was_not_is_a_gap() -> None:
    assert position_untrusted("") is None
    topic = KeptTopic("a")
    topic.put(1)
    assert topic.since(None) == (Position("a", 1), 0, [])
    assert topic.since(Position("a", 2)) == (Position("a", 1), UNKNOWN, [])


class Publisher:
    """A process with a topic, which a test restarts, and cuts off its followers."""

    def __init__(self) -> None:
        self.lives = 0
        self.trouble: list[CallError] = []
        self.is_away = False
        self.begin()

    def begin(self) -> None:
        self.lives += 1
        self.pubsub = PubSub(new_life=lambda: f"life-{self.lives}")
        self.ended = asyncio.Event()

    async def open(self, since: str) -> AsyncIterator[Any]:
        if self.trouble:
            raise self.trouble.pop(0)
        if self.is_away:
            raise Unavailable("away")
        items: AsyncGenerator[Any, None] = numbered(self.pubsub, "news", since)
        ended = asyncio.ensure_future(self.ended.wait())
        item: asyncio.Future[Any] = ended
        try:
            while True:
                item = asyncio.ensure_future(anext(items))
                await asyncio.wait((item, ended), return_when=asyncio.FIRST_COMPLETED)
                if not item.done():
                    raise OutcomeUnknown("cut off")
                yield item.result()
        finally:
            for future in (item, ended):
                future.cancel()
            await asyncio.wait((item, ended))
            await items.aclose()

    def cut(self) -> None:
        self.ended.set()
        self.ended = asyncio.Event()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsrt.loops.component.follow.FIRST_S", 0.0)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_follower_goes_on_over_breaks_and_is_told_what_died(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> list[Any]:
        publisher, heard = Publisher(), list[Any]()
        followed = Followed("third/x news", publisher.open, "", logging.getLogger("x"))

        async def listen() -> None:
            async for item in followed:
                heard.append(item)

        task = asyncio.ensure_future(listen())
        await settled()
        publisher.pubsub.publish("news", 1)
        await settled()
        publisher.cut()
        publisher.pubsub.publish("news", 2)  # there is no subscriber now
        await settled()
        publisher.pubsub.publish("news", 3)
        await settled()
        publisher.is_away = True
        publisher.cut()
        await settled()
        for number in range(300):
            publisher.pubsub.publish("news", number + 4)
        publisher.is_away = False
        while followed.at != "life-1:303":
            await settled()
        publisher.begin()
        publisher.pubsub.publish("news", "lost")
        publisher.cut()
        task.cancel()
        await asyncio.wait((task,))
        again = Followed("third/x news", publisher.open, followed.at, logging.getLogger("x"))
        async for item in again:
            heard.append(item)
            break
        assert again.at == "life-2:0"
        return heard

    heard = asyncio.run(main())
    assert heard[:4] == [1, 2, 3, Gap(44)]
    assert heard[4:-1] == list(range(48, 304)) and heard[-1] == Gap(None)
    assert [record.getMessage() for record in caplog.records] == [
        "follow third/x news: broken off, and taken up again: cut off",
    ] * 2  # fmt: skip


@pytest.mark.parametrize("error", [Denied("not allowed"), Failed("a bug")])
def test_an_error_that_does_not_pass_ends_it(error: CallError) -> None:
    async def main() -> None:
        publisher = Publisher()
        publisher.trouble = [error]
        async for _ in Followed("third/x news", publisher.open, "", logging.getLogger("x")):
            pass

    with pytest.raises(type(error)):
        asyncio.run(main())


def test_what_has_no_positions_cannot_be_followed() -> None:
    async def open_stream(since: str) -> AsyncIterator[Any]:
        yield {"event": 1}

    async def main() -> None:
        async for _ in Followed("third/x news", open_stream, "", logging.getLogger("x")):
            pass

    with pytest.raises(Failed, match="cannot follow third/x news: what it sends has no position"):
        asyncio.run(main())


def test_topics_that_are_kept_are_bounded() -> None:
    pubsub = PubSub()
    for number in range(200):
        pubsub.keep(str(number))
    assert len(pubsub._kept) == 64 and pubsub.keep("199") is pubsub.keep("199")
