"""The texts of mailboxes in the index: each mailbox is a part of its own, and its owner alone is answered from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tlsrt import CallError, Component, Database, Transaction
from tlsrt.loops.external.message import MESSAGE
from tlsrt.loops.indexing.feeder import QUIET_S, RETRY_MOST_S, Feeder, part_of, remove_parts
from tlsrt.loops.indexing.questions import Questions

MOST = 500  # messages of one mailbox that are indexed: the newest
_THERE = (
    "FROM mail JOIN messages ON messages.number = message WHERE mailbox = ? AND state != 'done' AND expires_ms > ? "
    "AND kind = ? AND typeof(body) = 'text'"
)


@dataclass(frozen=True, slots=True)
class MessageHit:
    """A passage of a message: of which, from whom and when (wall ms), from which character on, and how near it is."""

    id: str
    sender: str
    topic: str
    created_ms: int
    start: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class FoundMessages:
    """What was found, and whether some may be missing."""

    hits: list[MessageHit]
    is_behind: bool


class MailboxTexts:
    """The newest texts of one mailbox, by their position in it; a message never changes, so its id is its mark."""

    def __init__(self, database: Database, mailbox: str, wall_ms: Callable[[], int]) -> None:
        self._database = database
        self._mailbox = mailbox
        self._wall_ms = wall_ms

    async def marks(self) -> dict[str, str]:
        """Return the ids of messages by their positions."""
        found: dict[str, str] = await self._database.query(_marks, self._mailbox, self._wall_ms())
        return found

    async def text(self, name: str) -> tuple[str, bytes] | None:
        """Return id and text of a message."""
        row = await self.row(name)
        return None if row is None else (row["id"], row["body"].encode())

    async def row(self, name: str) -> Any:
        """Return a message of this mailbox, None for one that is not there any more."""
        return await self._database.query(_row, self._mailbox, self._wall_ms(), int(name)) if name.isdigit() else None


def _marks(transaction: Transaction, mailbox: str, now_ms: int) -> dict[str, str]:
    rows = transaction.read(
        f"SELECT position, messages.id AS id {_THERE} ORDER BY position DESC LIMIT ?",
        mailbox, now_ms, MESSAGE, MOST,
    )  # fmt: skip
    return {str(row["position"]): row["id"] for row in rows}


def _row(transaction: Transaction, mailbox: str, now_ms: int, position: int) -> dict[str, Any] | None:
    rows = transaction.read(
        f"SELECT messages.id AS id, sender, topic, body, created_ms {_THERE} AND position = ?",
        mailbox, now_ms, MESSAGE, position,
    )  # fmt: skip
    return dict(rows[0]) if rows else None


def _mailboxes(transaction: Transaction, most: int) -> list[str]:
    return [row["mailbox"] for row in transaction.read("SELECT DISTINCT mailbox FROM mail LIMIT ?", most)]


class MailboxIndex:
    """A feeder for each mailbox, one at work after the other."""

    def __init__(self, component: Component, database: Database, wall_ms: Callable[[], int], most: int) -> None:
        self._component = component
        self._database = database
        self._wall_ms = wall_ms
        self._most = most
        self._turn = asyncio.Lock()
        self._feeders: dict[str, tuple[Feeder, MailboxTexts]] = {}
        self._changed: dict[str, None] = {}  # mailboxes that are to be compared, in this order
        self._event = asyncio.Event()
        self._questions = Questions()

    def change(self, *mailboxes: str) -> None:
        """Say that something came into a mailbox, or was taken out of it."""
        for mailbox in mailboxes:
            if mailbox not in self._feeders:
                texts = MailboxTexts(self._database, mailbox, self._wall_ms)
                feeder = Feeder(self._component, part_of(mailbox), "message", texts, self._turn)
                self._feeders[mailbox] = feeder, texts
            self._feeders[mailbox][0].change()
            self._changed[mailbox] = None
        self._event.set()

    def look_again(self) -> None:
        """Look into each mailbox: messages have expired."""
        self.change(*self._feeders)

    async def run(self) -> None:
        """Keep all mailboxes in the index, for ever: first those that are there, then those that change."""
        is_begun = False
        while True:
            failed: list[str] = []
            try:
                if not is_begun:
                    self.change(*await self._database.query(_mailboxes, self._most))
                    kept = {part_of(one) for one in self._feeders}
                    await remove_parts(self._component, kept)
                    is_begun = True
            except CallError as error:
                self._component.log.warning("index: %s", error.message)
            self._event.clear()
            while self._changed:
                mailbox = next(iter(self._changed))
                del self._changed[mailbox]
                feeder, _ = self._feeders[mailbox]
                if not await feeder.once():
                    failed = [*self._changed, mailbox]  # this one last
                    self._changed.clear()
                elif feeder.is_empty and not feeder.is_behind:
                    del self._feeders[mailbox]
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_MOST_S if failed or not is_begun else None):
                    await self._event.wait()
                    await asyncio.sleep(QUIET_S)  # of many messages it looks once
            self.change(*failed)

    async def find(self, mailbox: str, question: str, most: int) -> FoundMessages:
        """Return the passages of one mailbox that are nearest to a question, as they stand in its messages now."""
        if mailbox not in self._feeders:
            return FoundMessages([], False)  # nothing ever came
        feeder, texts = self._feeders[mailbox]
        with self._questions.asked_by(mailbox):
            hits: list[MessageHit] = []
            for place in await feeder.find(question, most):
                row = await texts.row(place.name)
                if row is not None and feeder.has(place.name, row["id"]):
                    passage = row["body"][place.start :][: place.length]
                    more = row["id"], row["sender"], row["topic"], row["created_ms"]
                    hits.append(MessageHit(*more, place.start, passage, place.score))
            return FoundMessages(hits, feeder.is_behind)
