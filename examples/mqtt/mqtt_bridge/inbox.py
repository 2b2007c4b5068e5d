"""The inbox: keeps messages in a database, and lets others read them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, ClassVar, TypedDict

from mqtt_bridge.messages import BATCH_MOST, Message
from tlsrt import Component, Length, Range, Transaction, database, handler


class Kept(TypedDict):
    """A message that was kept."""

    id: int
    at: float
    topic: str
    payload: bytes
    sender: str


class Inbox(Component):
    """Messages of others, kept."""

    topics: ClassVar = {"arrived": "a message was kept: {id, topic}"}

    class Options:
        keep: Annotated[int, Range(1, 1_000_000), "How many messages are kept; the oldest go."] = 10_000

    db = database(
        steps=[
            "create table messages (id integer primary key autoincrement, at real not null, topic text not null, "
            "payload blob not null, sender text not null)"
        ]
    )

    async def healthy(self) -> str | None:
        return await self.db.check()

    @handler
    async def deliver(self, messages: Annotated[list[Message], Length(BATCH_MOST)]) -> None:
        """Keep messages: all of them or none."""
        kept = await self.db.transaction(keep, messages, time.time(), self.caller, self.options.keep)
        for number, message in zip(kept, messages, strict=True):
            self.publish("arrived", {"id": number, "topic": message["topic"]})

    @handler(idempotent=True)
    async def recent(self, n: Annotated[int, Range(1, 1000)] = 10, topic: str = "") -> AsyncIterator[Kept]:
        """The last messages, the newest last; of one topic, if it is given."""
        rows = await self.db.read(
            "select id, at, topic, payload, sender from messages where ? in ('', topic) order by id desc limit ?",
            topic, n,
        )  # fmt: skip
        for row in reversed(rows):
            yield Kept(
                id=row["id"], at=row["at"], topic=row["topic"], payload=row["payload"], sender=row["sender"]
            )  # fmt: skip

    @handler(idempotent=True)
    async def count(self) -> int:
        """How many messages are kept."""
        return int((await self.db.read("select count(*) from messages"))[0][0])


def keep(transaction: Transaction, messages: Sequence[Message], at: float, sender: str, most: int) -> list[int]:
    """Write messages, and remove the oldest if there are too many; return the new numbers."""
    numbers = [
        transaction.execute(
            "insert into messages (at, topic, payload, sender) values (?, ?, ?, ?)",
            at, message["topic"], message["payload"], sender,
        ).last_id
        for message in messages
    ]  # fmt: skip
    if numbers:
        transaction.execute("delete from messages where id <= ?", numbers[-1] - most)
    return numbers
