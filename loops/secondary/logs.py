"""The journal of the machine, the logs of this host's processes and its audit log in one question, ordered by time.

What they hold was written by others, perhaps to deceive who reads it: texts are printable and bounded, and nothing is
decided by them. A log that does not answer is named with a sentence, and the others are given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from tlsrt import (
    BoundedTable,
    Busy,
    Component,
    DiskThread,
    EachAlone,
    Failed,
    InvalidArgument,
    Length,
    Range,
    WhenFull,
    handler,
)
from tlsrt.loops.secondary.journal_gateway import JournalGateway
from tlsrt.loops.secondary.log_query import (
    ANSWER_BYTES,
    LIMIT_MOST,
    SOURCES,
    Filter,
    Found,
    merge,
    moment_us,
    position_untrusted,
)
from tlsrt.loops.secondary.log_sources import LogSources
from tlsrt.loops.secondary.own_logs import AUDIT_PARTS

SOCKET = "/run/systemd/journal-gatewayd.sock"
QUERIES, QUERIES_SHARE = 8, 2  # at once, of all and of one caller
FOLLOWERS, FOLLOWERS_SHARE = 8, 2
PROOFS, PROOFS_SHARE = 4, 1
_ITEM = 200  # entries of one item of a stream

Words = Annotated[str, Length(128)]
Text = Annotated[str, Length(256)]
Priority = Annotated[int, Range(0, 7)] | None


class Logs(Component):
    """Logs of this machine and this host, to be read."""

    @dataclass(frozen=True)
    class Options:
        """Where the journal is."""

        socket: Annotated[str, "The UNIX socket of systemd-journal-gatewayd; name it under `needs: sockets`, too."] = (
            SOCKET
        )
        look_s: Annotated[float, Range(0.2, 60), "Seconds between two looks for who follows."] = 1.0

    def __init__(self) -> None:
        self._disk = DiskThread("logs-disk", EachAlone())
        self.disk_threads = (self._disk,)

    async def start(self) -> None:
        self._sources = LogSources(self.runtime, JournalGateway(self.options.socket), self._disk)
        self._queries: BoundedTable[object, None] = BoundedTable(QUERIES, QUERIES_SHARE, WhenFull.REFUSE)
        self._proofs: BoundedTable[object, None] = BoundedTable(PROOFS, PROOFS_SHARE, WhenFull.REFUSE)
        self._followers: BoundedTable[object, None] = BoundedTable(FOLLOWERS, FOLLOWERS_SHARE, WhenFull.REFUSE)

    async def stop(self) -> None:
        self._disk.close()

    @handler(idempotent=True)
    async def query(
        self, sources: list[str] | None = None, since: Words = "", until: Words = "", unit: Words = "",
        component: Words = "", priority: Priority = None, text: Text = "",
        limit: Annotated[int, Range(1, LIMIT_MOST)] = 100, cursor: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """The last entries of the journal and of this host's logs, the oldest first; `cursor` leads to those before.

        `sources` are of journal and logs. `since` and `until` are 15m (s, m, h, d), a date with time in UTC, or
        milliseconds since 1970. `text` is to be in the text as it is, in small or capital letters. `priority` 4 means
        warnings and worse. `missing` says of a log why it, or a part of it, is not in the answer. Where `cursor` is
        null there is nothing before it.
        """
        wanted = _filter(since, until, unit, component, priority, text)
        return await self._query(_sources(sources, SOURCES[:2]), wanted, limit, cursor)

    @handler(idempotent=True)
    async def query_all(
        self, sources: list[str] | None = None, since: Words = "", until: Words = "", unit: Words = "",
        component: Words = "", priority: Priority = None, text: Text = "",
        limit: Annotated[int, Range(1, LIMIT_MOST)] = 100, cursor: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """As `query`, and the audit log of the host as well, whose records prove nothing here: `audit verify` does."""
        wanted = _filter(since, until, unit, component, priority, text)
        chosen = _sources(sources, SOURCES)
        self._note(chosen)
        return await self._query(chosen, wanted, limit, cursor)

    @handler(idempotent=True)
    async def watch(
        self, sources: list[str] | None = None, unit: Words = "", component: Words = "",
        priority: Priority = None, text: Text = "",
    ) -> AsyncIterator[dict[str, Any]]:  # fmt: skip
        """New entries from now on, those of one look as one item: entries, missing, left_out_bytes.

        The first item has none and says that it follows. Who is too slow misses the middle of what was written, and
        `left_out_bytes` says how much of the host's logs that was; of the journal and the audit log nothing is missed.
        """
        async for item in self._follow(
            _sources(sources, SOURCES[:2]), _filter("", "", unit, component, priority, text)
        ):
            yield item

    @handler(idempotent=True)
    async def watch_all(
        self, sources: list[str] | None = None, unit: Words = "", component: Words = "",
        priority: Priority = None, text: Text = "",
    ) -> AsyncIterator[dict[str, Any]]:  # fmt: skip
        """As `watch`, and the audit log of the host as well."""
        chosen = _sources(sources, SOURCES)
        self._note(chosen)
        async for item in self._follow(chosen, _filter("", "", unit, component, priority, text)):
            yield item

    @handler(idempotent=True)
    async def audit_log(self, parts: Annotated[int, Range(1, AUDIT_PARTS)] = 1) -> AsyncIterator[dict[str, Any]]:
        """The newest `parts` of the audit log byte by byte, the oldest first, so that a caller can check its proof.

        An item has `part` (its number), `whole` and `bytes`. Of the parts before them only the header comes, and
        `whole` is false: the keys that sign lead through it. What is not here is what this service does not give.
        """
        self._note(("audit",))
        with self._place(self._proofs, PROOFS, PROOFS_SHARE, "copies of the audit log"):
            try:
                async for piece, data in self._sources.audit_log(self.caller, parts):
                    yield {"part": int(piece.file.name), "whole": piece.is_whole, "bytes": data}
            except OSError as error:
                raise Failed(f"the audit log cannot be read: {error.strerror}") from None

    def _note(self, sources: Sequence[str]) -> None:
        if "audit" in sources:
            self.log.info("%s reads the audit log", self.caller)

    async def _query(self, sources: Sequence[str], wanted: Filter, limit: int, cursor: str) -> dict[str, Any]:
        before = position_untrusted(cursor)
        with self._place(self._queries, QUERIES, QUERIES_SHARE, "questions"), self.time("query"):
            looked = await self._sources.older(self.caller, sources, wanted, before, limit)
            merged = merge(looked.pages, before, limit)
            if merged.held_up_by:
                said = f"{merged.held_up_by} has more of one moment than is looked through: some of it is left out"
                looked.missing[merged.held_up_by if merged.held_up_by in SOURCES else "logs"] = said
        self.count("queries")
        position = merged.position
        return {
            "entries": merged.entries, "cursor": None if position is None else position.text(),
            "missing": looked.missing,
        }  # fmt: skip

    async def _follow(self, sources: Sequence[str], wanted: Filter) -> AsyncIterator[dict[str, Any]]:
        with self._place(self._followers, FOLLOWERS, FOLLOWERS_SHARE, "followers"):
            follower = self._sources.follow(self.caller, sources, wanted)
            _, told, _ = await follower.look()
            yield _item([], told, 0)
            while True:
                await asyncio.sleep(self.options.look_s)
                found, missing, left_out = await follower.look()
                if found or left_out or missing != told:
                    told = missing
                    for entries in _items(found):
                        yield _item(entries, missing, left_out)
                        left_out = 0

    @contextmanager
    def _place(self, table: BoundedTable[object, None], most: int, share: int, what: str) -> Iterator[None]:
        key = object()
        if not table.add(key, None, self.caller).is_added:
            raise Busy(f"{share} {what} of one caller, or {most} of all: try again later")
        try:
            yield
        finally:
            table.remove(key)


def _sources(names: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    if names is None:
        return list(known)
    wrong = next((one for one in names if one not in known), None)
    if wrong == "audit":
        raise InvalidArgument("the audit log is a right of its own: call query_all or watch_all")
    if wrong is not None or not names:
        raise InvalidArgument(f"sources are some of {', '.join(known)}")
    return list(dict.fromkeys(names))


def _filter(since: str, until: str, unit: str, component: str, priority: int | None, text: str) -> Filter:
    now_us = time.time_ns() // 1000
    return Filter(
        moment_us(since, now_us, "since") if since else 0, moment_us(until, now_us, "until") if until else None, unit,
        component, priority, text,
    )  # fmt: skip


def _items(found: Sequence[Found]) -> Iterator[list[Found]]:
    """Yield what fits an item, and an empty one if there is nothing."""
    some, room = list[Found](), ANSWER_BYTES
    for one in found:
        size = len(one.entry["text"].encode()) + _ITEM
        if some and (len(some) >= _ITEM or room < size):
            yield some
            some, room = [], ANSWER_BYTES
        some.append(one)
        room -= size
    yield some


def _item(found: Sequence[Found], missing: dict[str, str], left_out: int) -> dict[str, Any]:
    return {"entries": [one.entry for one in found], "missing": missing, "left_out_bytes": left_out}
