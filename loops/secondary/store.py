"""The store: named values that outlive restarts, with revisions, expiry and a stream of changes.

All that needs the disk is done in a thread of its own, so that a slow disk makes answers late and nothing else: the
event loop beats, and values that were used lately are answered from memory. A value is there for others when it is on
the disk, and not before.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, cast

import msgpack

from tlsrt import (
    BoundedTable,
    CallError,
    Component,
    DiskCheck,
    DiskThread,
    DiskWork,
    Failed,
    InvalidArgument,
    Length,
    NotFound,
    OutcomeUnknown,
    Pattern,
    PubSub,
    Range,
    WhenFull,
    every,
    handler,
)
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
from tlsrt.loops.secondary.past import Change, PastLimits
from tlsrt.loops.secondary.sqlite_table import SqliteTable, TableRow
from tlsrt.loops.secondary.store_index import FoundValues, StoreIndex

VALUE_BYTES = 256 * 1024  # encoded
_MIB = 1 << 20
_DECADE_S = 10 * 365 * 86400.0
CACHE_BYTES = 8 << 20  # of the values that were used last
_ROW_BYTES = 300  # what a value takes beside itself
_TOGETHER = 64  # expired values removed in one piece of work
_PAGE = 256  # changes read in one piece of work

# JSON Schema knows no classes of characters: of what is not printable, these are what a program can send by mistake.
_PRINTABLE = Pattern(re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"), "printable characters only")
Key = Annotated[str, _PRINTABLE, Length(256, 1)]
Prefix = Annotated[str, _PRINTABLE, Length(256)]
Ttl = Annotated[float, Range(0.001, _DECADE_S)]
Revision = Annotated[int, Range(0)]


@dataclass(frozen=True)
class StoreNamespace(Namespace):
    """What the operator says of one namespace of the store."""

    index: Annotated[bool, "Whether secondary/search keeps its texts, for `find`."] = False


class Store(Component):
    """Keeps values by key. What was acknowledged survives a crash of the store and of the host."""

    class Options:
        """Options of the store."""

        max_bytes: Annotated[int, Range(_MIB // 16, 1 << 40), "Bytes of the whole store."] = 128 * _MIB
        namespace: Annotated[
            Literal["shared", "per_subject"],
            "Where values are without `namespace`. shared: in one for all; per_subject: in the caller's own.",
        ] = "shared"
        namespaces: Annotated[
            dict[str, StoreNamespace], Length(256), "Further namespaces: who may use them, and how much they may hold."
        ] = field(default_factory=dict)
        namespace_bytes: Annotated[MostBytes, "Bytes of the values in each namespace, but in the shared one."] = None
        namespace_keys: Annotated[MostKeys, "Keys in each namespace, but in the shared one."] = None
        index: Annotated[bool, "Whether secondary/search keeps the texts of the shared namespace, for `find`."] = False
        changes: Annotated[int, Range(0, 1_000_000), "Changes that `watch` can go back over."] = 10_000
        versions: Annotated[int, Range(0, 1000), "Values of a key that are kept when it is put anew."] = 10
        versions_bytes: Annotated[
            int, Range(0, 1 << 40), "Bytes of these values of all keys, at most a quarter of max_bytes."
        ] = 8 * _MIB

        def __post_init__(self) -> None:
            check_named(self.namespaces)

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    def __init__(self) -> None:
        self._table = self.make_table()
        self._disk = DiskThread("store-disk", self._table)
        self.disk_threads = (self._disk,)

    def make_table(self) -> SqliteTable:
        """The table, in a method of its own so that a test can give it a bad disk."""
        return SqliteTable()

    async def start(self) -> None:
        size = self.options.max_bytes
        versions = self.options.versions
        room = min(self.options.versions_bytes, size // 4) if versions else 0  # 0 drops those of another setting
        limits = PastLimits(self.options.changes, versions, room)
        self._is_stopping = False
        self._expiring: asyncio.Task[None] | None = None
        self._next_expiry_ms = 0.0  # wall ms before which no value expires
        self._shared = self.options.namespace == "shared"
        quota = Quota(self.options.namespace_bytes, self.options.namespace_keys)
        self._spaces = Namespaces(self.address, self.options.namespaces, quota)
        self._changes = PubSub()
        self._cache: BoundedTable[tuple[str, str], TableRow] = BoundedTable(CACHE_BYTES, CACHE_BYTES, WhenFull.EVICT)
        self._check = DiskCheck(self._disk, self.state, self._table.check)
        try:
            await self._disk.run("", DiskWork(partial(self._table.open, self.state / "store.sqlite", size, limits)))
        except BaseException:
            self._disk.close()
            raise
        if trouble := await self._check.ask():
            self.log.warning("%s", trouble)
        indexed = [name for name, options in self.options.namespaces.items() if options.index]
        shared = [""] if self.options.index else []
        self._index = StoreIndex(self, self._table, self._disk, [*shared, *indexed], self.wall_ms)
        self._index.begin()

    async def stop(self) -> None:
        self._is_stopping = True
        self._changes.close()
        await self._disk.run_last(DiskWork(self._table.close))
        self._disk.close()

    async def healthy(self) -> str | None:
        return await self._check.ask()

    def _space(self, namespace: str | None, right: Right) -> str:
        """Return the namespace that is meant. Raises Denied, InvalidArgument."""
        if namespace is None:
            return "" if self._shared else self.caller
        return self._spaces.open(self.caller, namespace, right)

    @handler
    async def put(
        self, key: Key, value: Any, ttl_s: Ttl | None = None, if_revision: Revision | None = None,
        namespace: Space = None,
    ) -> dict[str, int]:  # fmt: skip
        """Keep a value (at most 256 KiB encoded), for `ttl_s` seconds or for good; returns its revision.

        With `if_revision` only if that is the key's revision now (0: only if there is none), else error `conflict`.
        """
        _printable("key", key)
        data = _encode(value)
        now = self.wall_ms()
        expires = None if ttl_s is None else now + max(int(ttl_s * 1000), 1)
        name = self._space(namespace, "write"), key
        quota = self._spaces.quota(name[0]) if name[0] else None
        work = DiskWork(
            partial(self._table.put, *name, data, expires, if_revision, now, quota), is_change=True, size=len(data)
        )

        def settled(outcome: object) -> None:
            if isinstance(outcome, int):
                self._remember(name, TableRow(data, outcome, expires), caller)
                self._next_expiry_ms = min(self._next_expiry_ms, math.inf if expires is None else expires)
            self._tell("put", name, outcome)

        caller = self.caller
        return {"revision": await self._disk.run(caller, work, settled)}

    def _tell(self, operation: str, name: tuple[str, str], outcome: object) -> None:
        """Publish a change that is on the disk; of one that may be, forget what the value was."""
        if isinstance(outcome, int):
            self.count(operation)
            self._index.change(name[0])
            self._changes.publish(name[0], {"operation": operation, "key": name[1], "revision": outcome})
        elif isinstance(outcome, OutcomeUnknown):
            self._cache.remove(name)
            self._next_expiry_ms = 0.0  # it may be there, with a time
            self._index.change(name[0])
            self._changes.close()  # who watches would miss it: `watch` tells them to go on from their last revision
        elif isinstance(outcome, BaseException):
            self.count("refused")

    def until_expiry_s(self) -> float:
        """Return in how many seconds the first value expires."""
        return (self._next_expiry_ms - self.wall_ms()) / 1000

    @every("1s", idle_s=until_expiry_s)
    async def look_for_expired(self) -> None:
        """Begin to remove what has expired, and wait for no slow disk."""
        if self._expiring is None or self._expiring.done():
            self._expiring = asyncio.create_task(self.expire_values())

    async def expire_values(self) -> None:
        """Remove what has expired, each as a change of its own."""
        now = self.wall_ms()
        with suppress(CallError):  # a bad disk is told by `healthy`, and asked again in a second
            while now >= self._next_expiry_ms and not self._is_stopping:
                work = DiskWork(partial(self._table.expire, now, _TOGETHER), is_change=True)
                await self._disk.run("", work, self._tell_expired)

    def _tell_expired(self, outcome: object) -> None:
        if isinstance(outcome, tuple):
            changes, first = outcome
            self._next_expiry_ms = math.inf if first is None else first
            for change in changes:
                name = change.namespace, change.key
                self._cache.remove(name)
                self._tell("expire", name, change.revision)
        elif isinstance(outcome, OutcomeUnknown):
            self._index.change_all()
            self._changes.close()

    @every("10m")
    async def look_at_index(self) -> None:
        """Have the index compared."""
        await self._index.look_again()

    def _remember(self, name: tuple[str, str], row: TableRow, caller: str) -> None:
        self._cache.remove(name)
        self._cache.add(name, row, caller, size=len(row.value) + _ROW_BYTES)

    @handler(idempotent=True)
    async def get(self, key: Key, namespace: Space = None) -> Any:
        """The value of a key; error `not_found` if there is none."""
        return _decode((await self._entry(key, namespace)).value)

    @handler(idempotent=True)
    async def entry(self, key: Key, namespace: Space = None) -> dict[str, Any]:
        """The value of a key with its revision, and in how many seconds it expires (null: never)."""
        entry = await self._entry(key, namespace)
        left = None if entry.expires_ms is None else (entry.expires_ms - self.wall_ms()) / 1000
        return {"value": _decode(entry.value), "revision": entry.revision, "expires_in_s": left}

    async def _entry(self, key: str, namespace: str | None) -> TableRow:
        _printable("key", key)
        name, now = (self._space(namespace, "read"), key), self.wall_ms()
        known = self._cache.get(name)
        entry = known.value if known is not None else await self._read(name, now)
        if entry is None or (entry.expires_ms is not None and entry.expires_ms <= now):
            raise NotFound(f"no value under {key!r}")
        if known is not None:
            self._cache.touch(name)
        return entry

    async def _read(self, name: tuple[str, str], now: int) -> TableRow | None:
        caller = self.caller

        def settled(outcome: object) -> None:  # in the order of the disk, so that nothing older comes after a change
            if isinstance(outcome, TableRow):
                self._remember(name, outcome, caller)

        return await self._disk.run(caller, DiskWork(partial(self._table.get, *name, now)), settled)

    @handler
    async def delete(self, key: Key, if_revision: Revision | None = None, namespace: Space = None) -> dict[str, int]:
        """Remove a key, under the same condition as `put`; returns the revision of the removal."""
        _printable("key", key)
        name = self._space(namespace, "write"), key

        def settled(outcome: object) -> None:
            if isinstance(outcome, int):
                self._cache.remove(name)
            self._tell("delete", name, outcome)

        work = DiskWork(partial(self._table.delete, *name, if_revision, self.wall_ms()), is_change=True)
        return {"revision": await self._disk.run(self.caller, work, settled)}

    @handler(idempotent=True)
    async def keys(
        self, prefix: Prefix = "", after: Prefix = "", limit: Annotated[int, Range(1, 500)] = 500,
        namespace: Space = None,
    ) -> list[str]:  # fmt: skip
        """Sorted keys that start with `prefix`; ask again with `after` = the last one for the next page."""
        _printable("prefix", prefix)
        _printable("after", after)
        work = partial(self._table.keys, self._space(namespace, "read"), prefix, after, limit, self.wall_ms())
        return await self._disk.run(self.caller, DiskWork(work))

    @handler(idempotent=True)
    async def history(
        self, key: Key, limit: Annotated[int, Range(1, 500)] = 100, namespace: Space = None
    ) -> list[dict[str, Any]]:
        """The values that a key has and had, the latest first: revision, bytes, and when (`put_at`, null: not kept)."""
        _printable("key", key)
        work = partial(self._table.history, self._space(namespace, "read"), key, limit, self.wall_ms())
        if not (found := await self._disk.run(self.caller, DiskWork(work))):
            raise NotFound(f"no value under {key!r}")
        return [
            {"revision": each.revision, "bytes": each.size, "put_at": each.at_ms and each.at_ms / 1000}
            for each in found
        ]

    @handler(idempotent=True)
    async def version(self, key: Key, revision: Revision, namespace: Space = None) -> Any:
        """The value that a key had at a revision that `history` names; error `not_found` if it is not kept."""
        _printable("key", key)
        work = partial(self._table.version, self._space(namespace, "read"), key, revision, self.wall_ms())
        if (data := await self._disk.run(self.caller, DiskWork(work))) is None:
            raise NotFound(f"no value under {key!r} at revision {revision}, see history")
        return _decode(data)

    @handler(idempotent=True)
    async def position(self) -> dict[str, int]:
        """The revision of the last change, and since which revision `watch` can tell all (`since`)."""
        revision, first, size = await self._disk.run(self.caller, DiskWork(self._table.position))
        self.gauge("versions_bytes", size)
        return {"revision": revision, "since": first}

    @handler
    async def watch(
        self, prefix: Prefix = "", since: Revision | None = None, namespace: Space = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Every put, delete and expire of a key that starts with `prefix`: operation, key, revision.

        From now on, or of all revisions behind `since`; error `conflict` if they are no longer all kept.
        """
        _printable("prefix", prefix)
        space, caller, last = self._space(namespace, "read"), self.caller, since
        subscription = None if since is not None else self._changes.subscribe(space)
        try:
            while last is not None and not self._is_stopping:
                changes = await self._disk.run(caller, DiskWork(partial(self._table.changes, last, _PAGE)))
                for change in changes:
                    last = change.revision
                    if change.namespace == space and change.key.startswith(prefix):
                        yield _told(change)
                if len(changes) == _PAGE:
                    continue
                if subscription is not None:  # it has all that is not on these pages
                    break
                subscription = self._changes.subscribe(space)
            if subscription is None or self._is_stopping:
                return
            async for change in subscription:
                if change["revision"] > (last or 0) and change["key"].startswith(prefix):
                    yield change
        finally:
            if subscription is not None:
                subscription.close()
        if not self._is_stopping:
            raise Failed("a change may have been made that is not told here; watch since the last revision you have")

    @handler(idempotent=True)
    async def find(
        self, text: Annotated[str, Length(4000, 1)], limit: Annotated[int, Range(1, 20)] = 5, namespace: Space = None
    ) -> FoundValues:
        """Passages of texts, which are values that are strings, nearest to a text: {hits, is_behind, left_out}.

        They are read from the values now, so of what was deleted, has expired or has changed since it was indexed,
        nothing comes. `is_behind`: not all is indexed yet; `left_out` texts are empty, or have no room.
        """
        space = self._space(namespace, "read")
        self.count("found")
        return await self._index.find(self.caller, space, text, limit)


def _told(change: Change) -> dict[str, Any]:
    return {"operation": change.operation, "key": change.key, "revision": change.revision}


def _printable(name: str, text: str) -> None:
    if not text.isprintable():  # lone surrogates are not printable either, and SQLite could not store them
        raise InvalidArgument(f"{name}: expected printable characters only")


def _encode(value: object) -> bytes:
    try:
        data = cast("bytes", msgpack.packb(value, use_bin_type=True))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"value: cannot be stored: {error}") from None
    if len(data) > VALUE_BYTES:
        raise InvalidArgument(f"value: {len(data)} bytes encoded, at most {VALUE_BYTES} fit")
    return data


def _decode(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False, strict_map_key=False)
