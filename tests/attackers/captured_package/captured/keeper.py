"""Components with a database, an older version of it, and one with files of its own and a thread for their disk."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

from tlsrt import Component, DiskCheck, DiskThread, DiskWork, EachAlone, database, handler

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


class Diary(Component):
    """Writes into a file of its own, as the files of tlsrt are written."""

    def __init__(self) -> None:
        self.disk = DiskThread("diary-disk", EachAlone())
        self.disk_threads = (self.disk,)

    async def start(self) -> None:
        self.check = DiskCheck(self.disk, self.state)

    @handler
    async def write(self, text: str) -> int:
        """Keep a text; returns its size."""
        return await self.disk.run(self.caller, DiskWork(partial((self.state / "diary").write_text, text)))

    @handler
    async def threads(self) -> list[str]:
        """The threads that there are, after another one was wanted."""
        try:
            threading.Thread(target=int).start()
        except RuntimeError:
            return sorted(thread.name for thread in threading.enumerate())
        return ["another"]

    async def healthy(self) -> str | None:
        return await self.check.ask()
