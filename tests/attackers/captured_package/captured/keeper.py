"""Components with a database: one that keeps what it is told, an older version of it, and one without room."""

from __future__ import annotations

import asyncio

from tlsrt import Component, database, handler

_STEPS = [
    "create table notes (id integer primary key, text text not null)",
    "alter table notes add column by text not null default ''",
]


class Keeper(Component):
    """Keeps notes."""

    db = database(steps=_STEPS)

    @handler
    async def add(self, text: str) -> int:
        """Keep a text; returns its number, when it is on the disk."""
        done = await self.db.execute("insert into notes (text, by) values (?, ?)", text, self.caller)
        return done.last_id

    @handler
    async def texts(self) -> list[str]:
        """All texts in their order."""
        return [row["text"] for row in await self.db.read("select text from notes order by id")]

    @handler
    async def back_up(self) -> str:
        """Write a backup; returns the name of its file."""
        return (await self.db.backup()).name

    @handler
    async def threads(self) -> bool:
        """Whether a thread can be made now."""
        try:
            return bool(await asyncio.to_thread(int)) or True
        except RuntimeError:
            return False

    async def healthy(self) -> str | None:
        return await self.db.check()


class OlderKeeper(Keeper):
    """Knows less than the database has."""

    db = database(steps=_STEPS[:1])
