"""Data keys of the secrets service: one for each namespace, wrapped under the root, replaced without a gap.

While a namespace has two data keys, the newer one seals, and values of the older one are sealed anew in pieces, each a
transaction of its own. How far that is stands in the values themselves, so it goes on after a crash, and a second
replacement in the middle of the first is one more data key. A key of which no value is left is removed.

All of it runs in the database's thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from tlsrt import Failed, Transaction
from tlsrt.loops.secondary.sealing import KEY_BYTES, NONCE_BYTES, BrokenSeal, DataKey, HiddenBytes, Place, Root
from tlsrt.loops.secondary.secret_schema import NAMESPACES_MOST, RESEALED_TOGETHER

_CACHED = 256  # data keys that are kept open

VERSION_COLUMNS = "namespace, name, version, key_number, sealed, size, is_text, at_ms, ends_ms"


def place_of(row: Any) -> Place:
    """Return where the value of a row of `versions` belongs."""
    return Place(
        row["namespace"], row["name"], row["version"], row["key_number"], row["at_ms"], row["ends_ms"],
        bool(row["is_text"]),
    )  # fmt: skip


class SecretKeys:
    """The data keys. `random_bytes` is os.urandom, or a test's."""

    def __init__(self, root: Root, random_bytes: Callable[[int], bytes]) -> None:
        self._root = root
        self._random = random_bytes
        self._open: OrderedDict[tuple[str, int, bytes], DataKey] = OrderedDict()  # by what lies on the disk

    def present(self, transaction: Transaction, namespace: str) -> int:
        """Return the number of the key that seals now, made if the namespace is new. Raises Failed for too many."""
        rows = transaction.read("SELECT key_number FROM namespaces WHERE namespace = ?", namespace)
        if rows:
            return int(rows[0][0])
        (count,) = transaction.read("SELECT count(*) FROM namespaces")[0]
        if count >= NAMESPACES_MOST:
            raise Failed(f"there are {count} namespaces, and no more fit: delete all names of one that is not needed")
        transaction.execute("INSERT INTO namespaces VALUES (?, 1, 0, 0)", namespace)
        self._add(transaction, namespace, 1)
        return 1

    def replace(self, transaction: Transaction, namespace: str) -> int:
        """Begin with one more key for a namespace that is there; return its number."""
        number = self.present(transaction, namespace) + 1
        self._add(transaction, namespace, number)
        transaction.execute("UPDATE namespaces SET key_number = ? WHERE namespace = ?", number, namespace)
        return number

    def _add(self, transaction: Transaction, namespace: str, number: int) -> None:
        wrapped = self._root.wrap(namespace, number, self._random(KEY_BYTES), self._random(NONCE_BYTES))
        transaction.execute("INSERT INTO data_keys VALUES (?, ?, ?)", namespace, number, wrapped)

    def forget(self, transaction: Transaction, namespace: str) -> None:
        """Remove a namespace in which nothing is left, and its keys."""
        transaction.execute("DELETE FROM data_keys WHERE namespace = ?", namespace)
        transaction.execute("DELETE FROM namespaces WHERE namespace = ?", namespace)

    def seal(self, transaction: Transaction, place: Place, value: bytes) -> bytes:
        """Return a value sealed for its place. Raises BrokenSeal if the key of the namespace is damaged."""
        return self._key(transaction, place).seal(place, value, self._random(NONCE_BYTES))

    def open(self, transaction: Transaction, row: Any) -> HiddenBytes:
        """Return the value of a row of `versions`. Raises BrokenSeal."""
        place = place_of(row)
        return self._key(transaction, place).open(place, row["sealed"])

    def _key(self, transaction: Transaction, place: Place) -> DataKey:
        query = "SELECT wrapped FROM data_keys WHERE namespace = ? AND number = ?"
        rows = transaction.read(query, place.namespace, place.key_number)
        if not rows:
            raise BrokenSeal
        name = (place.namespace, place.key_number, rows[0][0])
        key = self._open.get(name)
        if key is None:
            key = self._open[name] = self._root.unwrap(*name)
            if len(self._open) > _CACHED:
                self._open.popitem(last=False)
        return key

    def end_at(self, transaction: Transaction, row: Any, ends_ms: int) -> None:
        """Give a value another end, which is bound to it. Raises BrokenSeal."""
        value = self.open(transaction, row)
        self._put_back(transaction, row, value, row["key_number"], ends_ms)

    def _put_back(self, transaction: Transaction, row: Any, value: bytes, number: int, ends_ms: int | None) -> None:
        place = Place(
            row["namespace"], row["name"], row["version"], number, row["at_ms"], ends_ms, bool(row["is_text"])
        )
        transaction.execute(
            "UPDATE versions SET key_number = ?, sealed = ?, ends_ms = ? "
            "WHERE namespace = ? AND name = ? AND version = ?",
            number, self.seal(transaction, place, value), ends_ms, place.namespace, place.name, place.version,
        )  # fmt: skip

    def unfinished(self, transaction: Transaction) -> list[str]:
        """Return the namespaces that have more than one key."""
        query = "SELECT namespace FROM data_keys GROUP BY namespace HAVING count(*) > 1 ORDER BY namespace"
        return [row[0] for row in transaction.read(query)]

    def left(self, transaction: Transaction, namespace: str) -> int:
        """Return how many values of a namespace are still sealed by an older key."""
        return int(transaction.read(f"SELECT count(*) FROM versions WHERE {_OLDER}", namespace=namespace)[0][0])  # noqa: S608

    def reseal(self, transaction: Transaction, namespace: str, after: tuple[str, int]) -> tuple[str, int] | None:
        """Seal some values by the newest key, those behind (name, version); return the last one, None at the end.

        What does not open stays as it is, and its key too: that is told by the look for damage.
        """
        number = transaction.read("SELECT key_number FROM namespaces WHERE namespace = ?", namespace)
        rows = transaction.read(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE {_OLDER} AND (name, version) > (:name, :version) "  # noqa: S608
            f"ORDER BY name, version LIMIT {RESEALED_TOGETHER}",
            namespace=namespace, name=after[0], version=after[1],
        )  # fmt: skip
        for row in rows:
            try:
                value = self.open(transaction, row)
            except BrokenSeal:
                continue
            self._put_back(transaction, row, value, number[0][0], row["ends_ms"])
        if rows:
            return rows[-1]["name"], rows[-1]["version"]
        transaction.execute(
            "DELETE FROM data_keys WHERE namespace = :namespace AND number < (SELECT min(least) FROM "
            "(SELECT key_number AS least FROM namespaces WHERE namespace = :namespace UNION ALL SELECT key_number "
            "FROM versions WHERE namespace = :namespace AND sealed IS NOT NULL))",
            namespace=namespace,
        )
        return None


_OLDER = (
    "namespace = :namespace AND sealed IS NOT NULL AND "
    "key_number < (SELECT key_number FROM namespaces WHERE namespace = :namespace)"
)
