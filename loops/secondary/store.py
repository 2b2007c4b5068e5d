"""The store: named values that outlive restarts, with revisions, expiry and a stream of changes.

Options: `max_bytes` of the whole store (default 128 MiB), and `namespace: shared` (default) or `per_subject`, where
every caller sees only the values it wrote itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

import msgpack

from tlsrt.errors import InvalidArgument, NotFound
from tlsrt.loops.component.component import Component, handler
from tlsrt.loops.component.options import choice_option, known_options, whole_option
from tlsrt.loops.component.pubsub import PubSub
from tlsrt.loops.component.validate import Length, Range
from tlsrt.loops.disk_space import trouble_of_folder
from tlsrt.loops.secondary.sqlite_table import SqliteTable, TableRow

VALUE_BYTES = 256 * 1024  # encoded
_MIB = 1 << 20
_DECADE_S = 10 * 365 * 86400.0

Key = Annotated[str, Length(256, 1)]
Prefix = Annotated[str, Length(256)]
Ttl = Annotated[float, Range(0.001, _DECADE_S)]
Revision = Annotated[int, Range(0)]


class Store(Component):
    """Keeps values by key. What was acknowledged survives a crash of the store and of the host."""

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    async def start(self) -> None:
        known_options(self.address, self.options, ("max_bytes", "namespace"))
        size = whole_option(self.address, self.options, "max_bytes", 128 * _MIB, _MIB // 16, 1 << 40)
        self._shared = choice_option(self.address, self.options, "namespace", ("shared", "per_subject")) == "shared"
        self._table = SqliteTable(self.state / "store.sqlite", size)
        self._changes = PubSub()

    async def stop(self) -> None:
        self._changes.close()
        self._table.close()

    def check(self) -> str | None:
        self._table.check()
        return trouble_of_folder(self.state)

    def _namespace(self) -> str:
        return "" if self._shared else self.caller

    @handler
    async def put(
        self, key: Key, value: Any, ttl_s: Ttl | None = None, if_revision: Revision | None = None
    ) -> dict[str, int]:
        """Keep a value (at most 256 KiB encoded), for `ttl_s` seconds or for good; returns its revision.

        With `if_revision` only if that is the key's revision now (0: only if there is none), else error `conflict`.
        """
        _printable("key", key)
        data = _encode(value)
        now = self.wall_ms()
        expires = None if ttl_s is None else now + max(int(ttl_s * 1000), 1)
        revision = self._table.put(self._namespace(), key, data, expires, if_revision, now)
        self._changes.publish(self._namespace(), {"operation": "put", "key": key, "revision": revision})
        return {"revision": revision}

    @handler(idempotent=True)
    async def get(self, key: Key) -> Any:
        """The value of a key; error `not_found` if there is none."""
        return _decode(self._entry(key).value)

    @handler(idempotent=True)
    async def entry(self, key: Key) -> dict[str, Any]:
        """The value of a key with its revision, and in how many seconds it expires (null: never)."""
        entry = self._entry(key)
        left = None if entry.expires_ms is None else (entry.expires_ms - self.wall_ms()) / 1000
        return {"value": _decode(entry.value), "revision": entry.revision, "expires_in_s": left}

    def _entry(self, key: str) -> TableRow:
        _printable("key", key)
        entry = self._table.get(self._namespace(), key, self.wall_ms())
        if entry is None:
            raise NotFound(f"no value under {key!r}")
        return entry

    @handler
    async def delete(self, key: Key, if_revision: Revision | None = None) -> dict[str, int]:
        """Remove a key, under the same condition as `put`; returns the revision of the removal."""
        _printable("key", key)
        revision = self._table.delete(self._namespace(), key, if_revision, self.wall_ms())
        self._changes.publish(self._namespace(), {"operation": "delete", "key": key, "revision": revision})
        return {"revision": revision}

    @handler(idempotent=True)
    async def keys(
        self, prefix: Prefix = "", after: Prefix = "", limit: Annotated[int, Range(1, 500)] = 500
    ) -> list[str]:
        """Sorted keys that start with `prefix`; ask again with `after` = the last one for the next page."""
        _printable("prefix", prefix)
        _printable("after", after)
        return self._table.keys(self._namespace(), prefix, after, limit, self.wall_ms())

    @handler
    async def watch(self, prefix: Prefix = "") -> AsyncIterator[dict[str, Any]]:
        """Every put and delete from now on of a key that starts with `prefix`: operation, key, revision."""
        subscription = self._changes.subscribe(self._namespace())
        try:
            async for change in subscription:
                if change["key"].startswith(prefix):
                    yield change
        finally:
            subscription.close()


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
