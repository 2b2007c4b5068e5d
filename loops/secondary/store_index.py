"""The texts of the store's namespaces in the index: each namespace is a part, and who may read it is answered from it.

A text is a value that is a string. Its revision is its mark, since no other value ever has the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgpack

from tlsrt import CallError, Component, DiskThread, DiskWork, NotFound, Unavailable
from tlsrt.loops.indexing.feeder import Feeder, Place, part_of, remove_parts
from tlsrt.loops.indexing.questions import Questions
from tlsrt.loops.secondary.sqlite_table import SqliteTable, TableRow

MOST = 10_000  # texts of one namespace that are indexed: the newest


@dataclass(frozen=True, slots=True)
class ValueHit:
    """A passage of a value: under which key and revision, from which character on, and how near it is."""

    key: str
    revision: int
    start: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class FoundValues:
    """What was found; whether some may be missing, and of how many texts nothing is indexed."""

    hits: list[ValueHit]
    is_behind: bool
    left_out: int


class NamespaceTexts:
    """The newest texts of one namespace, by key."""

    def __init__(self, table: SqliteTable, disk: DiskThread, namespace: str, wall_ms: Callable[[], int]) -> None:
        self._table = table
        self._disk = disk
        self._namespace = namespace
        self._wall_ms = wall_ms

    async def marks(self) -> dict[str, str]:
        """Return the revisions of texts by their keys."""
        work = DiskWork(partial(self._table.texts, self._namespace, MOST, self._wall_ms()))
        return {key: str(revision) for key, revision in (await self._disk.run("", work)).items()}

    async def text(self, name: str) -> tuple[str, bytes] | None:
        """Return revision and text of a value; a damaged one is told by the store's health, and is no text here."""
        try:
            row = await self.row("", name)
        except CallError:
            return None
        text = None if row is None else text_of(row.value)
        return None if row is None or text is None else (str(row.revision), text.encode())

    async def row(self, caller: str, name: str) -> TableRow | None:
        """Return a value that is there now. Raises a CallError for one that is damaged, or a bad disk."""
        work = DiskWork(partial(self._table.get, self._namespace, name, self._wall_ms()))
        return await self._disk.run(caller, work)


class StoreIndex:
    """A feeder for each namespace that has an index, one at work at a time. The shared namespace is called ""."""

    def __init__(
        self, component: Component, table: SqliteTable, disk: DiskThread, namespaces: Iterable[str],
        wall_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._component = component
        self._texts = {name: NamespaceTexts(table, disk, name, wall_ms) for name in namespaces}
        turn = asyncio.Lock()
        self._feeders = {
            name: Feeder(component, part_of(name), "note", texts, turn) for name, texts in self._texts.items()
        }
        self._questions = Questions()

    def begin(self) -> None:
        """Keep all of them in the index from now on."""
        for name, feeder in self._feeders.items():
            self._component.spawn(feeder.run, name=f"index of {name or 'the shared namespace'}")
        if self._feeders:
            self._component.spawn(self.look_again, restart=False)

    def change(self, namespace: str) -> None:
        """Say that a value of a namespace has changed."""
        if namespace in self._feeders:
            self._feeders[namespace].change()

    def change_all(self) -> None:
        """Say that any value may have changed."""
        for feeder in self._feeders.values():
            feeder.change()

    async def look_again(self) -> None:
        """Try again what the index has not taken, and remove the parts of namespaces that have none any more."""
        for feeder in self._feeders.values():
            feeder.forget_refused()
            feeder.change()
        if self._feeders:
            with suppress(CallError):  # the index is away: next time
                await remove_parts(self._component, {part_of(name) for name in self._feeders})

    async def find(self, caller: str, namespace: str, question: str, most: int) -> FoundValues:
        """Return the passages of a namespace that are nearest to a question, as they stand in its values now."""
        feeder = self._feeders.get(namespace)
        if feeder is None:
            where = f"namespace {namespace}: the option `index: true` of the namespace" if namespace else (
                "the shared namespace: the option `index: true`"
            )  # fmt: skip
            raise Unavailable(f"there is no index of {where} keeps one")
        with self._questions.asked_by(caller):
            hits: list[ValueHit] = []
            for place in await feeder.find(question, most):
                with suppress(CallError):  # damaged, which its health tells
                    row = await self._texts[namespace].row(caller, place.name)
                    if row is not None and feeder.has(place.name, str(row.revision)):
                        hits.append(_hit(place, row))
            return FoundValues(hits, feeder.is_behind, feeder.left_out)


def text_of(value: bytes) -> str | None:
    """Return the text that a value is, None if it is none."""
    found = msgpack.unpackb(value, raw=False, strict_map_key=False)
    return found if isinstance(found, str) else None


def _hit(place: Place, row: TableRow) -> ValueHit:
    text = text_of(row.value)
    if text is None:
        raise NotFound(f"{place.name} is no text")
    return ValueHit(place.name, row.revision, place.start, text[place.start :][: place.length], place.score)
