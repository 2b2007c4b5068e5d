"""Time for messages: they expire, and files that belong to none go. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tlsrt import CallError, Component, Database
from tlsrt.loops.external.content_tables import ContentTables
from tlsrt.loops.external.mailbox_index import MailboxIndex
from tlsrt.loops.external.message_tables import MessageTables, Unread

_PAUSE_S, _LOOK_S = 5.0, 600.0
_TOLD = 8  # lost messages of one look, by name


class MessageExpiry:
    """Looks when the next message expires, and at least every ten minutes: a clock may be set."""

    def __init__(
        self, component: Component, database: Database, tables: MessageTables, contents: ContentTables,
        index: MailboxIndex | None, wall_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._component = component
        self._db = database
        self._tables = tables
        self._contents = contents
        self._index = index
        self._wall_ms = wall_ms
        self._another = asyncio.Event()

    def look_again(self) -> None:
        """Say that there is another message, which may be the next to expire."""
        self._another.set()

    async def run(self) -> None:
        """Let messages expire, and remove files that belong to none, for ever."""
        while True:
            self._another.clear()
            try:
                due = await self._db.query(self._tables.next_change)
                delay_s = _LOOK_S if due is None else (due - self._wall_ms()) / 1000
                if delay_s > 0:
                    try:
                        async with asyncio.timeout(min(max(delay_s, 0.5), _LOOK_S)):
                            await self._another.wait()
                    except TimeoutError:
                        await self._db.transaction(self._contents.sweep, self._wall_ms())
                    else:
                        await asyncio.sleep(1)  # of many messages it looks once
                    continue
                expired, unread = await self._db.transaction(self._tables.pass_time, self._wall_ms())
                self._component.count("expired", expired)
                self._tell_lost([one for one in unread if not one.mailbox.startswith("client/")])
                if self._index is not None:
                    self._index.look_again()
            except CallError as error:  # the disk; its health tells the operator
                self._component.log.warning("cannot let messages expire: %s", error.message)
                await asyncio.sleep(_PAUSE_S)

    def _tell_lost(self, lost: Sequence[Unread]) -> None:
        """Tell the operator what a component, such as a carrier, has not taken in time: no one else looks there."""
        for one in lost[:_TOLD]:
            self._component.log.warning(
                "message %s of %s has expired, as %s has not taken it", one.id, one.sender, one.mailbox
            )
        if len(lost) > _TOLD:
            self._component.log.warning("so have %d more, which their senders see by `sent`", len(lost) - _TOLD)
        if lost:
            self._component.alert("undeliverable")
