"""Secrets in the tables of a database: versions of values, sealed, with ends, leases and a record of reads.

A name has versions. The latest is the present one; an older one opens until its grace is over, and then its value is
erased from its row. Times are wall ms and come as arguments; randomness comes through the constructor.

Every method takes the transaction that it runs in, and runs in the database's thread. Failures are CallErrors, raised
before anything is changed or undone with all of the transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tlsrt.loops.secondary.secret_leases as secret_leases
from tlsrt import Conflict, Failed, NotFound, Transaction
from tlsrt.loops.secondary.namespaces import Quota
from tlsrt.loops.secondary.sealing import BrokenSeal, HiddenBytes, Place, Root, digest_of
from tlsrt.loops.secondary.secret_keys import VERSION_COLUMNS, SecretKeys
from tlsrt.loops.secondary.secret_log import Name, SecretLog
from tlsrt.loops.secondary.secret_schema import NO_LEASE, VERSIONS_MOST, Bounds, Lease, Outcome, SecretChange

_TOGETHER = 64  # versions that end in one transaction


class SecretTables:
    """The secrets. `begin` it first."""

    def __init__(self, root: bytes, bounds: Bounds, random_bytes: Callable[[int], bytes]) -> None:
        keys = Root(root)
        self._bounds = bounds
        self._random = random_bytes
        self.keys = SecretKeys(keys, random_bytes)
        self.log = SecretLog(keys, digest_of(root))

    def begin(self, transaction: Transaction) -> None:
        """Make the first row, or look at all that is there. Raises ConfigError for another root."""
        self.log.begin(transaction)
        self.log.look(transaction, self.keys)

    # -- changes ----------------------------------------------------------------------------------------------

    def put(
        self, transaction: Transaction, name: Name, value: bytes, *, is_text: bool, if_version: int | None,
        grace_ms: int, writer: str, quota: Quota, now_ms: int, operation: str = "put",
    ) -> Outcome:  # fmt: skip
        """Make a new version the present one; those before end now, or when the grace is over."""
        before = self._expected(transaction, name, if_version)
        number = self.keys.present(transaction, name[0])
        self._check_room(transaction, name, len(value), quota, is_new=before is None, frees=not grace_ms)
        ended, shortened = self._end_older(transaction, name, now_ms, grace_ms)
        version = self.log.revision(transaction) + 1
        place = Place(*name, version, number, now_ms, None, is_text)
        try:
            sealed = self.keys.seal(transaction, place, value)
        except BrokenSeal:
            raise Failed(
                f"the key of namespace {name[0]!r} is damaged on the disk: restore this component, or call rotate_key "
                "for it, and put its secrets anew"
            ) from None
        transaction.execute(
            "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            *name, version, number, sealed, len(value), int(is_text), now_ms, writer,
        )  # fmt: skip
        self._account(transaction, name[0], names=int(before is None), size=len(value))
        change = self.log.note(transaction, name, version, version, operation, now_ms)
        self._prune(transaction, name)
        return Outcome((change,), version, before or 0, shortened, ended)

    def delete(self, transaction: Transaction, name: Name, if_version: int | None, now_ms: int) -> Outcome:
        """Remove a name with all its versions."""
        before = self._expected(transaction, name, if_version)
        if before is None and name not in self.log.damaged:
            raise NotFound(f"there is no secret {name[1]!r}")
        where = "namespace = ? AND name = ?"
        rows = transaction.read(f"SELECT version, size, sealed IS NOT NULL FROM versions WHERE {where}", *name)  # noqa: S608
        ended = secret_leases.end(transaction, name, [row[0] for row in rows])
        transaction.execute(f"DELETE FROM versions WHERE {where}", *name)  # noqa: S608
        self._account(transaction, name[0], names=-int(before is not None), size=-sum(row[1] for row in rows if row[2]))
        change = self.log.note(transaction, name, None, before or 0, "delete", now_ms)
        if not transaction.read("SELECT 1 FROM versions WHERE namespace = ? LIMIT 1", name[0]):
            self.keys.forget(transaction, name[0])
        return Outcome((change,), before=before or 0, ended=ended)

    def destroy(self, transaction: Transaction, name: Name, version: int, now_ms: int) -> Outcome:
        """Erase the value of one version; of the present one too, which leaves the name without a value."""
        present = self.log.present(transaction, name)
        rows = self._versions(transaction, name, "version = ? AND sealed IS NOT NULL", version)
        if not rows:
            raise NotFound(f"{name[1]!r} has no value of version {version}, see history")
        ended = secret_leases.end(transaction, name, [version])
        self._erase(transaction, name, rows[0], now_ms)
        left = 0 if present == version else present
        return Outcome((self.log.note(transaction, name, left, version, "destroy", now_ms),), version, ended=ended)

    def end_late(self, transaction: Transaction, now_ms: int) -> tuple[Outcome, int | None]:
        """Erase versions whose grace is over, and end leases; return that, and when there is more to do, if ever."""
        changes: list[SecretChange] = []
        ended: list[Lease] = []
        late = transaction.read(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE ends_ms <= ? AND sealed IS NOT NULL "  # noqa: S608
            f"ORDER BY ends_ms LIMIT {_TOGETHER}",
            now_ms,
        )
        for row in late:
            name = (row["namespace"], row["name"])
            if name in self.log.damaged:  # what is told of it must not change
                continue
            present = self.log.replaced(transaction, name)
            ended += secret_leases.end(transaction, name, [row["version"]])
            self._erase(transaction, name, row, now_ms)
            changes.append(self.log.note(transaction, name, present, row["version"], "close", now_ms))
        ended += secret_leases.end_late(transaction, now_ms, _TOGETHER)
        (version_ms,) = transaction.read(
            "SELECT min(ends_ms) FROM versions WHERE ends_ms > ? AND sealed IS NOT NULL", now_ms
        )[0]
        times = [each for each in (version_ms, secret_leases.next_end(transaction)) if each is not None]
        if len(late) == _TOGETHER and changes:
            times.append(now_ms)
        return Outcome(tuple(changes), ended=tuple(ended)), min(times, default=None)

    def _expected(self, transaction: Transaction, name: Name, if_version: int | None) -> int | None:
        """Return the present version for a change. Raises Conflict if it is another than expected."""
        if if_version is None:
            return self.log.replaced(transaction, name)
        present = self.log.present(transaction, name)
        if (present or 0) != if_version:
            state = f"is at version {present}" if present else "has no value"
            raise Conflict(f"{name[1]!r} {state}, not at {if_version}")
        return present

    def _check_room(
        self, transaction: Transaction, name: Name, size: int, quota: Quota, *, is_new: bool, frees: bool
    ) -> None:
        names, held = transaction.read("SELECT names, bytes FROM namespaces WHERE namespace = ?", name[0])[0]
        live = self._versions(transaction, name, "sealed IS NOT NULL")
        more = size - (sum(row["size"] for row in live) if frees else 0)
        quota.check(name[0], held, names, more, int(is_new))
        (total,) = transaction.read("SELECT sum(bytes) FROM namespaces")[0]
        if more > 0 and total + more > self._bounds.max_bytes:
            raise Failed(
                f"all secrets hold {total} bytes and may hold {self._bounds.max_bytes}, so {more} more do not fit: "
                "delete some, or raise max_bytes"
            )

    def _end_older(
        self, transaction: Transaction, name: Name, now_ms: int, grace_ms: int
    ) -> tuple[tuple[Lease, ...], tuple[Lease, ...]]:
        ended: tuple[Lease, ...] = ()
        shortened: tuple[Lease, ...] = ()
        for row in self._versions(transaction, name, "sealed IS NOT NULL"):
            version, ends_ms = row["version"], now_ms + grace_ms
            if grace_ms and row["ends_ms"] is not None and row["ends_ms"] <= ends_ms:
                continue  # it ends sooner already
            try:
                if grace_ms:
                    self.keys.end_at(transaction, row, ends_ms)
                    shortened += secret_leases.shorten(transaction, name, version, ends_ms)
                    continue
            except BrokenSeal:  # it never opens again
                pass
            self._erase(transaction, name, row, now_ms)
            ended += secret_leases.end(transaction, name, [version])
        return ended, shortened

    def _erase(self, transaction: Transaction, name: Name, row: Any, now_ms: int) -> None:
        transaction.execute(
            "UPDATE versions SET sealed = NULL, ends_ms = ? WHERE namespace = ? AND name = ? AND version = ?",
            now_ms,
            *name,
            row["version"],
        )
        self._account(transaction, name[0], names=0, size=-row["size"])

    def _prune(self, transaction: Transaction, name: Name) -> None:
        older = self._versions(transaction, name, "1 ORDER BY version DESC LIMIT -1 OFFSET ?", VERSIONS_MOST)
        for row in older:
            if row["sealed"] is not None:
                self._account(transaction, name[0], names=0, size=-row["size"])
            secret_leases.end(transaction, name, [row["version"]])
            where = "namespace = ? AND name = ? AND version = ?"
            transaction.execute(f"DELETE FROM versions WHERE {where}", *name, row["version"])  # noqa: S608

    def _account(self, transaction: Transaction, namespace: str, *, names: int, size: int) -> None:
        transaction.execute(
            "UPDATE namespaces SET names = max(names + ?, 0), bytes = max(bytes + ?, 0) WHERE namespace = ?",
            names, size, namespace,
        )  # fmt: skip

    # -- reads ------------------------------------------------------------------------------------------------

    def get(
        self, transaction: Transaction, name: Name, version: int | None, reader: str, lease_ms: int, now_ms: int
    ) -> tuple[HiddenBytes, bool, int, Lease]:
        """Return a value, whether it is text, the present version and a lease. It is kept who has read."""
        present = self.log.present(transaction, name)
        if present is None:
            raise NotFound(f"there is no secret {name[1]!r}")
        wanted = present if version is None else version
        if wanted == 0:
            raise NotFound(f"{name[1]!r} has no value any more, as it was destroyed: put it anew")
        rows = self._versions(transaction, name, "version = ?", wanted)
        if not rows:
            if wanted == present:
                self.log.damaged[name] = why = "its value is missing"
                raise self.log.refusal(name, why)
            raise NotFound(f"{name[1]!r} has no version {wanted}, see history")
        row = rows[0]
        if row["sealed"] is None or (row["ends_ms"] is not None and row["ends_ms"] <= now_ms):
            raise NotFound(f"version {wanted} of {name[1]!r} is over: read the present one, {present}")
        try:
            value = self.keys.open(transaction, row)
        except BrokenSeal:
            self.log.damaged[name] = why = f"the value of its version {wanted} is damaged"
            raise self.log.refusal(name, why) from None
        ends_ms = now_ms + lease_ms if row["ends_ms"] is None else min(now_ms + lease_ms, row["ends_ms"])
        lease = secret_leases.grant(transaction, self._random(12).hex(), reader, name, wanted, now_ms, ends_ms)
        secret_leases.note_read(transaction, name, wanted, reader, now_ms, self._bounds.reads)
        return value, bool(row["is_text"]), present, lease

    def renew(self, transaction: Transaction, lease: str, reader: str, lease_ms: int, now_ms: int) -> Lease:
        """Make a lease longer, up to the end of its version. Raises NotFound for one that has ended, or another's."""
        found = secret_leases.find(transaction, lease)
        name = (found.namespace, found.name)
        if found.reader != reader or found.ends_ms <= now_ms:
            raise NotFound(NO_LEASE)
        rows = self._versions(transaction, name, "version = ? AND sealed IS NOT NULL", found.version)
        ends_ms = now_ms + lease_ms
        if rows and rows[0]["ends_ms"] is not None:
            ends_ms = min(ends_ms, rows[0]["ends_ms"])
        return secret_leases.grant(transaction, lease, reader, name, found.version, now_ms, ends_ms)

    def names(
        self, transaction: Transaction, namespace: str, prefix: str, after: str, limit: int
    ) -> list[dict[str, Any]]:
        """Return names with their present version and when that was put, sorted."""
        query = (
            "SELECT entries.name, entries.version, versions.at_ms FROM entries LEFT JOIN versions "
            "USING (namespace, name, version) WHERE namespace = ? AND name > ? AND substr(name, 1, ?) = ? "
            "ORDER BY name LIMIT ?"
        )
        return [
            {"name": row[0], "version": row[1], "put_at": row[2] and row[2] / 1000}
            for row in transaction.read(query, namespace, after, len(prefix), prefix, limit)
        ]

    def history(self, transaction: Transaction, name: Name, now_ms: int) -> list[dict[str, Any]]:
        """Return the versions of a name, the latest first. Raises NotFound."""
        present = self.log.present(transaction, name)
        if present is None:
            raise NotFound(f"there is no secret {name[1]!r}")
        query = (
            "SELECT version, size, at_ms, ends_ms, writer, sealed IS NULL FROM versions WHERE namespace = ? "
            "AND name = ? ORDER BY version DESC"
        )
        return [
            {
                "version": version, "bytes": size, "put_at": at_ms / 1000, "by": writer,
                "state": "erased" if is_erased or (ends_ms is not None and ends_ms <= now_ms)
                else "present" if version == present else "grace",
                "ends_at": ends_ms and ends_ms / 1000,
            }
            for version, size, at_ms, ends_ms, writer, is_erased in transaction.read(query, *name)
        ]  # fmt: skip

    def namespaces(self, transaction: Transaction) -> list[dict[str, Any]]:
        """Return all namespaces: how many names and bytes, the number of the key, and values of an older key."""
        rows = transaction.read("SELECT * FROM namespaces ORDER BY namespace")
        return [
            {
                "namespace": row["namespace"], "names": row["names"], "bytes": row["bytes"], "key": row["key_number"],
                "to_reseal": self.keys.left(transaction, row["namespace"]),
            }
            for row in rows
        ]  # fmt: skip

    def _versions(self, transaction: Transaction, name: Name, where: str, *values: object) -> list[Any]:
        query = f"SELECT {VERSION_COLUMNS} FROM versions WHERE namespace = ? AND name = ? AND {where}"  # noqa: S608
        return transaction.read(query, *name, *values)
