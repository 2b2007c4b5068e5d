"""Configuration values for components and clients: typed documents with revisions, diff, rollback and news.

Each change is one transaction of the whole document, checked before; it is on the disk when it is answered. Who watches
gets the present revision and then each later one, the latest where several came together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

import tlsrt.loops.secondary.config_tables as tables
from tlsrt import Component, InvalidArgument, Length, OutcomeUnknown, Range, Transaction, database, handler
from tlsrt.loops.secondary.config_schema import Document, Fit, Key, Value, difference, fit, problems
from tlsrt.loops.secondary.config_tables import STEPS, Revision
from tlsrt.loops.secondary.namespaces import Namespace, Namespaces, Quota, Right, check_named

DOCUMENTS_MOST = 64
_PROBLEMS_TOLD = 8
Name = Annotated[str, Length(130, 1)]
Number = Annotated[int, Range(0, 1 << 53)]
IfRevision = Annotated[int, Range(0, 1 << 53)] | None
Comment = Annotated[str, Length(500)]
Changes = Annotated[dict[str, Value], Length(256)]


class Config(Component):
    """Typed values in documents that the operator declares. What was acknowledged survives a crash."""

    class Options:
        """Options of the configuration service."""

        documents: Annotated[dict[str, Document], "Documents by name: keys with types, and who may read and write."]

        def __post_init__(self) -> None:
            if not 0 < len(self.documents) <= DOCUMENTS_MOST:
                raise ValueError(f"documents: name 1 to {DOCUMENTS_MOST}")
            check_named(_rights(self.documents))

    db = database(steps=STEPS)

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    async def start(self) -> None:
        self._documents: Mapping[str, Document] = self.options.documents
        self._rights = Namespaces(self.address, _rights(self._documents), Quota(None, None))
        self._news = asyncio.Condition()
        self._changing: set[asyncio.Task[Any]] = set()
        self._is_stopping = False

    async def stop(self) -> None:
        self._is_stopping = True
        async with self._news:
            self._news.notify_all()

    def _open(self, name: str, right: Right) -> Document:
        """Return a document in which the caller has a right. Raises Denied, the same whether it exists or not."""
        self._rights.open(self.caller, name, right)
        found = self._documents.get(name)
        if found is None:  # a caller's own name, which needs no right
            raise InvalidArgument(f"{self.address} has no document {name}: the operator declares it under documents")
        return found

    # -- changes ----------------------------------------------------------------------------------------------

    @handler
    async def put(
        self, document: Name, values: Changes, unset: Annotated[list[Key], Length(256)] = [],  # noqa: B006  # as SDK
        if_revision: IfRevision = None, comment: Comment = "", dry_run: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Set keys, and take others back to their defaults, if the whole document fits then; returns what changed.

        With `if_revision` only if that is the present one (0: none yet), else error `conflict`. `dry_run` checks and
        tells, and changes nothing.
        """
        known = self._open(document, "write")
        if both := sorted({*values} & {*unset}):
            raise InvalidArgument(f"{both[0]} is in values and in unset: leave it out of one")

        def make(now: Revision, transaction: Transaction) -> dict[str, Any]:
            # Keys that a changed schema has no more go with the next change, as `unset` does not take them.
            kept = {key: value for key, value in now.values.items() if key in known.fields and key not in unset}
            return kept | values

        if unknown := [key for key in unset if key not in known.fields]:
            raise InvalidArgument(f"{unknown[0]}: there is no such key; `schema` lists them")
        return await self._change(document, known, "put", make, values, if_revision, comment, dry_run)

    @handler
    async def rollback(
        self, document: Name, revision: Number, if_revision: IfRevision = None, comment: Comment = "",
        dry_run: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Make the values of an earlier revision the present ones, as a new revision; they must fit the schema of now.

        Revision 0 is that in which nothing is set.
        """
        known = self._open(document, "write")

        def make(now: Revision, transaction: Transaction) -> dict[str, Any]:
            return tables.find(transaction, document, revision).values

        return await self._change(document, known, f"rollback to {revision}", make, {}, if_revision, comment, dry_run)

    async def _change(
        self, name: str, known: Document, operation: str, make: Any, said: Mapping[str, Any],
        if_revision: int | None, comment: str, dry_run: bool,
    ) -> dict[str, Any]:  # fmt: skip
        if not comment.isprintable():
            raise InvalidArgument("comment: expected printable characters only")
        author, at_ms = self.caller, self.wall_ms()
        reads = self._rights.allows(author, name, "read")

        def change(transaction: Transaction) -> dict[str, Any]:
            now = tables.present(transaction, name)
            tables.expect(now, if_revision, name)
            given = make(now, transaction)
            if wrong := problems(known, given):
                if not reads:  # a value that is there already, or was, is in the sentence
                    wrong = [one if _key_of(one) in said else f"{_key_of(one)} does not fit" for one in wrong]
                more = f"; and {len(wrong) - _PROBLEMS_TOLD} more" if len(wrong) > _PROBLEMS_TOLD else ""
                raise InvalidArgument(f"nothing was changed: {'; '.join(wrong[:_PROBLEMS_TOLD])}{more}")
            changed = difference(fit(known, now.values).values, fit(known, given).values)
            if not reads:
                changed = [{"key": one["key"], "before": None, "after": said.get(one["key"])} for one in changed]
            is_same = not difference(now.values, given)
            number = now.number if is_same else now.number + 1
            if not is_same and not dry_run:
                new = Revision(number, at_ms, author, operation, comment, given)
                tables.add(transaction, name, new, known.kept)
            return {"revision": number, "before": now.number, "changed": changed, "dry_run": dry_run}

        told: dict[str, Any]
        if dry_run:
            return dict(await self.db.query(change))
        task = asyncio.create_task(self._made(name, change))  # also told if its caller does not wait any more
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        told = await asyncio.shield(task)
        return told

    async def _made(self, name: str, change: Callable[[Transaction], dict[str, Any]]) -> dict[str, Any]:
        try:
            told: dict[str, Any] = await self.db.transaction(change)
        except OutcomeUnknown:
            await self._tell()  # it may be on the disk: who watches looks
            raise
        if told["revision"] != told["before"]:
            self.count("changes")
            self.publish("changed", {"document": name, "revision": told["revision"]})
            await self._tell()
        return told

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    # -- reads ------------------------------------------------------------------------------------------------

    @handler(idempotent=True)
    async def get(self, document: Name, revision: Number | None = None) -> dict[str, Any]:
        """All values of a document, the present ones or those of a revision: with defaults for what is not set.

        `set` lists the keys that are set; `ignored` those whose value no longer fits a changed schema, with the reason.
        """
        known = self._open(document, "read")
        self.count("get")
        found: Revision = await self.db.query(_find, document, revision)
        return _told(known, found)

    @handler(idempotent=True)
    async def value(self, document: Name, key: Key) -> Value | None:
        """One value; null where it is not set and has no default."""
        known = self._open(document, "read")
        if key not in known.fields:
            raise InvalidArgument(f"{key}: there is no such key; `schema` lists them")
        found: Revision = await self.db.query(tables.present, document)
        value: Value | None = fit(known, found.values).values[key]
        return value

    @handler(idempotent=True)
    async def schema(self, document: Name) -> dict[str, Any]:
        """What the operator has declared of each key: type, doc, default, low, high, choices, pattern, required."""
        return {key: one.told() for key, one in self._open(document, "read").fields.items()}

    @handler(idempotent=True)
    async def documents(self) -> list[dict[str, Any]]:
        """The documents in which you may do anything, with your rights and their present revision."""
        found = []
        for name in sorted(self._documents):
            rights = [right for right in ("read", "write") if self._rights.allows(self.caller, name, right)]
            if rights:
                now: Revision = await self.db.query(tables.present, name)
                found.append({"document": name, "rights": rights, "revision": now.number})
        return found

    @handler(idempotent=True)
    async def history(
        self, document: Name, before: Number | None = None, limit: Annotated[int, Range(1, 500)] = 100
    ) -> list[dict[str, Any]]:
        """Revisions that are kept, the latest first: who made each, when, by what, and the comment."""
        self._open(document, "read")
        found: list[Revision] = await self.db.query(tables.history, document, before, limit)
        return [one.told() for one in found]

    @handler(idempotent=True)
    async def diff(self, document: Name, old: Number, new: Number | None = None) -> list[dict[str, Any]]:
        """Keys whose set values differ between two revisions (the second one: the present), with both values."""
        self._open(document, "read")

        def compare(transaction: Transaction) -> list[dict[str, Any]]:
            return difference(tables.find(transaction, document, old).values, _find(transaction, document, new).values)

        found: list[dict[str, Any]] = await self.db.query(compare)
        return found

    @handler(idempotent=True)
    async def watch(self, document: Name, since: Number | None = None) -> AsyncIterator[dict[str, Any]]:
        """The document as `get` has it, at once unless it has revision `since`, and again whenever it has changed.

        Who is slow gets the latest one; revisions between are in `history`.
        """
        known = self._open(document, "read")
        last = -1 if since is None else since
        while not self._is_stopping:
            async with self._news:  # taken before the read, so that no change falls between
                found: Revision = await self.db.query(tables.present, document)
                if found.number == last:
                    await self._news.wait()
                    continue
            last = found.number
            yield _told(known, found)

    async def healthy(self) -> str | None:
        if trouble := await self.db.check():
            return trouble
        for name, known in self._documents.items():
            found: Revision = await self.db.query(tables.present, name)
            if ignored := fit(known, found.values).ignored:
                key, why = next(iter(ignored.items()))
                return f"document {name}: the value of {key} is ignored: {why}; set it anew, or mend the schema"
        return None


def _key_of(problem: str) -> str:
    return problem.partition(": ")[0]


def _rights(documents: Mapping[str, Document]) -> dict[str, Namespace]:
    return {name: Namespace(read=one.read, write=one.write) for name, one in documents.items()}


def _find(transaction: Transaction, document: str, number: int | None) -> Revision:
    return tables.present(transaction, document) if number is None else tables.find(transaction, document, number)


def _told(known: Document, found: Revision) -> dict[str, Any]:
    usable: Fit = fit(known, found.values)
    return {**found.told(), "values": usable.values, "set": sorted(found.values), "ignored": usable.ignored}
