"""Search by meaning over notes, files and messages that callers add, with their sources. Needs the extra `ai`.

The model runs in a worker, without key, network and folder; texts and vectors are in the database here, and the worker
has copies of the vectors while it runs. The search is exact. Ids that a worker answers are looked up in the caller's
namespace, so it can order what is found and cannot show anything else.
"""

from __future__ import annotations

import asyncio
import re
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, Literal, Protocol

import tlsrt.loops.secondary.search_tables as tables
from tlsrt import (
    Component,
    InvalidArgument,
    Length,
    NotFound,
    Pattern,
    Range,
    TlsrtError,
    Unavailable,
    database,
    handler,
    worker_of,
)
from tlsrt.loops.models.answers import Model, Nearest, Vectors
from tlsrt.loops.secondary.model_calls import Extra, ModelCalls, paced
from tlsrt.loops.secondary.namespaces import (
    MostBytes,
    MostKeys,
    Namespace,
    Namespaces,
    Quota,
    Right,
    Space,
    check_named,
)
from tlsrt.loops.secondary.passages import passages
from tlsrt.loops.secondary.search_answers import AddedSource, Embedded, Found, Hit
from tlsrt.loops.secondary.search_tables import KINDS, STEPS, Index, Source

TEXTS, TEXT_CHARACTERS = 64, 4000  # of one `embed`
FILE_BYTES = 1 << 20
SOURCE_PASSAGES = 4000
TOGETHER = 64  # passages that the model gets at once
CALLS, CALLS_SHARE = 64, 16
_TRIES = 3  # of a search: a worker may end between its loading and its question
EXTRA = Extra("ai", "searching by meaning", "wordllama", "numpy")

_PRINTABLE = Pattern(re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"), "printable characters only")
_PART = re.compile(r"[a-z0-9_./-]{1,64}")
Name = Annotated[str, _PRINTABLE, Length(256, 1)]
After = Annotated[str, _PRINTABLE, Length(256)]
Mark = Annotated[str, _PRINTABLE, Length(128)]
Kind = Literal["note", "file", "message"]


class Embeddings(Protocol):
    """The functions of the worker, tlsrt.loops.models.embeddings."""

    async def embed(self, texts: list[str]) -> Vectors: ...
    async def load(self, space: str, generation: int, ids: bytes, kinds: bytes, vectors: bytes) -> None: ...
    async def nearest(self, space: str, generation: int, text: str, most: int, kind: int) -> Nearest: ...
    async def identity(self) -> Model: ...


@dataclass(slots=True)
class Loaded:
    """What the worker was given of a namespace: by which number, of which model, and how much."""

    number: int
    model: Model
    count: int = 0
    outdated: int = 0


class Search(Component):
    """Finds passages by what they mean. What was acknowledged survives a crash."""

    class Options:
        """Options of the search."""

        max_passages: Annotated[int, Range(100, 40_000), "Passages in all namespaces; each is searched."] = 20_000
        namespace: Annotated[
            Literal["shared", "per_subject"],
            "Where sources are without `namespace`. shared: in one for all; per_subject: in the caller's own.",
        ] = "per_subject"
        namespaces: Annotated[
            dict[str, Namespace], Length(256), "Further namespaces: who may use them, and how much they may hold."
        ] = field(default_factory=dict)
        namespace_bytes: Annotated[MostBytes, "Bytes of texts and vectors in each namespace."] = None
        namespace_keys: Annotated[MostKeys, "Sources in each namespace."] = None

        def __post_init__(self) -> None:
            check_named(self.namespaces)

    db = database(steps=STEPS)
    embeddings = worker_of("embeddings", Embeddings, idle="5m", cancel="200ms")

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    async def start(self) -> None:
        quota = Quota(self.options.namespace_bytes, self.options.namespace_keys)
        self._spaces = Namespaces(self.address, self.options.namespaces, quota)
        self._calls = ModelCalls(self.address, CALLS, CALLS_SHARE)
        self._numbers = count(1)
        self._turn = asyncio.Lock()
        self._loaded: dict[str, Loaded] = {}  # by namespaces that have been searched since they were changed
        self._renewing: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])

    async def healthy(self) -> str | None:
        return await self.db.check()

    def _space(self, namespace: str | None, right: Right) -> str:
        """Return the namespace that is meant. Raises Denied, InvalidArgument."""
        if namespace is None:
            return "" if self.options.namespace == "shared" else self.caller
        owner, colon, part = namespace.partition(tables.PART)
        if colon and owner == self.caller:
            if not _PART.fullmatch(part):
                raise InvalidArgument("namespace: behind the colon expected a-z, 0-9, _, -, . and /, 64 at most")
            return namespace
        return self._spaces.open(self.caller, namespace, right)

    # -- the model

    @handler(idempotent=True)
    async def embed(
        self, texts: Annotated[list[Annotated[str, Length(TEXT_CHARACTERS, 1)]], Length(TEXTS, 1)]
    ) -> Embedded:
        """Vectors of 1 to 64 texts, each of length 1: {vectors, model}. Their product is how near two meanings are."""
        EXTRA.expect()
        if any(not one.strip() for one in texts):
            raise InvalidArgument("texts: one of them has nothing but white space")
        with self._calls.one(self.caller):
            found = await self._vectors(texts)
        size = len(found.data) // len(texts)
        parts = [found.data[at : at + size] for at in range(0, len(found.data), size)]
        vectors = [struct.unpack(f"<{found.dimensions}e", one) for one in parts]
        self.count("embedded", len(texts))
        return Embedded([[*one] for one in vectors], found.model)

    async def _vectors(self, texts: Sequence[str]) -> Vectors:
        """Ask the worker for vectors, some at a time. Raises Unavailable for an answer of another length."""
        data, last = bytearray(), None
        for at in range(0, len(texts), TOGETHER):
            part = [*texts[at : at + TOGETHER]]
            one = await self.embeddings.embed(part)
            is_other = last is not None and last.model != one.model
            if len(one.data) != 2 * one.dimensions * len(part) or not one.dimensions or is_other:
                raise Unavailable("worker embeddings answered with vectors of another length: try again")
            data += one.data
            last = one
        assert last is not None
        return Vectors(bytes(data), last.dimensions, last.model)

    # -- changes

    @handler
    async def add(
        self, source: Name, text: Annotated[str, Length(200_000, 1)], kind: Kind = "note", namespace: Space = None,
        mark: Mark = "",
    ) -> AddedSource:  # fmt: skip
        """Add a text under the name of its source, in place of what is there: {passages, replaced, model}.

        It is on the disk and found when this returns. `mark` is yours: `sources` shows it, so that you can tell what
        is outdated.
        """
        return await self._add(self._space(namespace, "write"), source, text, kind, mark)

    @handler
    async def add_file(
        self, source: Name, kind: Kind, namespace: Space, mark: Mark = "", *, content: AsyncIterator[bytes]
    ) -> AddedSource:
        """Add an upload of UTF-8 text, at most 1 MiB, as `add` adds a text."""
        space, data = self._space(namespace, "write"), bytearray()
        async for piece in paced(content):
            data += piece
            if len(data) > FILE_BYTES:
                raise InvalidArgument(f"content: more than {FILE_BYTES >> 20} MiB; divide it into several sources")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"content: byte {error.start} is no UTF-8 text; extract the text first") from None
        return await self._add(space, source, text, kind, mark)

    async def _add(self, space: str, name: str, text: str, kind: str, mark: str) -> AddedSource:
        EXTRA.expect()
        parts = passages(text)
        if not parts:
            raise InvalidArgument("text: there is nothing but white space")
        if len(parts) > SOURCE_PASSAGES:
            raise InvalidArgument(f"text: {len(parts)} passages; divide it into sources of at most {SOURCE_PASSAGES}")
        with self._calls.one(self.caller):
            vectors = await self._vectors([one.text for one in parts])
            new = Source(
                space, name, KINDS.index(kind), self.wall_ms(), vectors.model.sha256, parts, vectors.data, self.caller,
                mark,
            )  # fmt: skip
            quota = self._spaces.quota(space) if space else Quota(None, None)
            is_replaced = await self._changed(
                space, self.db.transaction(tables.add, new, quota, self.options.max_passages)
            )
        self.count("added")
        return AddedSource(len(parts), is_replaced, vectors.model)

    async def _changed(self, space: str, change: Any) -> Any:
        """Make a change; what is loaded of the namespace is not asked any more, however the change ends."""
        try:
            return await change
        finally:
            self._loaded.pop(space, None)

    @handler
    async def remove(self, source: Name, namespace: Space = None) -> dict[str, int]:
        """Remove a source; returns how many `passages` it had. Error `not_found` if there is none."""
        space = self._space(namespace, "write")
        removed: int = await self._changed(space, self.db.transaction(tables.remove, space, source))
        self.count("removed")
        return {"passages": removed}

    @handler(idempotent=True)
    async def sources(
        self, after: After = "", limit: Annotated[int, Range(1, 500)] = 500, namespace: Space = None
    ) -> list[dict[str, Any]]:
        """Sources by name: {name, kind, at_ms, author, bytes, passages, mark}; for more, `after` = the last one."""
        space = self._space(namespace, "read")
        found: list[dict[str, Any]] = await self.db.query(tables.sources, space, after, limit)
        return found

    @handler(idempotent=True)
    async def parts(self) -> list[str]:
        """The parts of your own namespace that hold something: `work` is what you call `namespace=ADDRESS:work`."""
        found: list[str] = await self.db.query(tables.parts, self.caller)
        return found

    # -- search

    @handler(idempotent=True)
    async def search(
        self, text: Annotated[str, Length(TEXT_CHARACTERS, 1)], limit: Annotated[int, Range(1, 50)] = 5,
        kind: Kind | None = None, namespace: Space = None,
    ) -> Found:  # fmt: skip
        """The passages that are nearest to a text, with their sources: {hits, model, outdated}.

        `score` is the cosine, 1 for the same meaning. `outdated` counts passages whose vectors another model has made:
        they are not found until they are made anew, which has begun.
        """
        space = self._space(namespace, "read")
        EXTRA.expect()
        if not text.strip():
            raise InvalidArgument("text: there is nothing but white space")
        with self._calls.one(self.caller):
            near, outdated = await self._nearest(space, text, limit, -1 if kind is None else KINDS.index(kind))
            known = await self.db.query(tables.found, space, near.ids[:limit])
        hits = [
            Hit(**known[one], score=score) for one, score in zip(near.ids, near.scores, strict=False) if one in known
        ]
        self.count("searched")
        return Found(hits, near.model, outdated)

    async def _nearest(self, space: str, text: str, most: int, kind: int) -> tuple[Nearest, int]:
        """Ask the worker, after it has been given what it has not; return how many passages are outdated as well.

        One after the other: the worker does no more, and none takes away what another one has loaded.
        """
        async with self._turn:
            known = self._loaded.get(space)
            for _ in range(_TRIES):
                if known is None:
                    known = await self._load(space)
                if not known.count:
                    return Nearest([], [], known.model), known.outdated
                with suppress(NotFound):  # the worker was unloaded, or has ended
                    return await self.embeddings.nearest(space, known.number, text, most, kind), known.outdated
                known = None
        raise Unavailable("the worker embeddings ends before it can answer: look into the log")

    async def _load(self, space: str) -> Loaded:
        """Give the worker the vectors of a namespace, as they are now."""
        model = await self.embeddings.identity()
        self._loaded[space] = known = Loaded(next(self._numbers), model)  # a change from here on takes it away again
        try:
            found: Index = await self.db.query(tables.index, space, model.sha256)
            known.count, known.outdated = len(found.kinds), found.outdated
            if known.count:
                await self.embeddings.load(space, known.number, found.ids, found.kinds, found.vectors)
        finally:
            if not known.count and self._loaded.get(space) is known:
                del self._loaded[space]  # nothing is remembered of a namespace that holds nothing
        if found.outdated and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew(model))
        return known

    async def _renew(self, model: Model) -> None:
        """Make vectors anew that another model has made, one source after the other."""
        with suppress(TlsrtError):  # the next search begins it again
            while (old := await self.db.query(tables.outdated, model.sha256)) is not None:
                number, space, texts = old
                new = await self._vectors(texts)
                if new.model != model:
                    return
                await self._changed(space, self.db.transaction(tables.renew, number, model.sha256, new.data))
