"""The tree over all entries of the secrets service: which rows there are, in one seal that no other rows have.

Theory of operation. A hash tree (Merkle 1987) with a keyed hash. A name has one of 4096 buckets, by a keyed hash, so
no caller can choose names of one bucket. The node of a bucket is the HMAC-SHA256 of the seals of its entries, sorted by
name; 64 buckets are a group, whose node is that of their nodes; the top is that of all groups. The row `whole` has the
top, with the revision, under its seal. To put back an older row, whatever was seen before, needs a second preimage of
an HMAC. (Before, it was a sum of seals modulo 2^128: who has seen enough of them finds others with the same sum.)

A change reads and compares the path of its bucket before it writes the path anew. So what was exchanged behind the
service's back is not taken for its own: the path then stays as it is, and every later look says so, until `accept`.

All of it runs in the database's thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tlsrt import Transaction
from tlsrt.loops.secondary.sealing import NODE_BYTES, Root

Name = tuple[str, str]
_GROUPS: Final = 64
_BUCKETS: Final = 64  # in each group
_NONE: Final = bytes(NODE_BYTES)  # in the place of a node of which nothing is there
UNKNOWN: Final = bytes(NODE_BYTES)  # a top that no rows have


@dataclass(frozen=True, slots=True)
class Path:
    """A bucket, and the nodes that its change changes: those of its group, and of all groups."""

    bucket: int
    below: dict[int, bytes]
    groups: dict[int, bytes]


class SecretTree:
    """Nodes by number: groups from 0 to 63, then buckets."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def bucket(self, name: Name) -> int:
        """Return the bucket of a name."""
        return int.from_bytes(self._root.node(b"bucket", *name)[:2], "big") % (_GROUPS * _BUCKETS)

    def top(self, nodes: Mapping[int, bytes]) -> bytes:
        """Return the top over these nodes."""
        return self._over(b"top", 0, (nodes.get(group, _NONE) for group in range(_GROUPS)))

    def path(self, transaction: Transaction, name: Name, top: bytes) -> Path | None:
        """Return the path of a name, None if the entries in its bucket are not those under this top."""
        bucket = self.bucket(name)
        group = bucket // _BUCKETS
        first = _number(group * _BUCKETS)
        below, groups = _read(transaction, first, first + _BUCKETS), _read(transaction, 0, _GROUPS)
        is_right = (
            below.get(_number(bucket)) == self._node_of_bucket(transaction, bucket)
            and groups.get(group) == self._node_of_group(group, below)
            and top == self.top(groups)
        )
        return Path(bucket, below, groups) if is_right else None

    def update(self, transaction: Transaction, path: Path) -> bytes:
        """Write a path anew, by the entries that are there now; return the top."""
        number, group = _number(path.bucket), path.bucket // _BUCKETS
        _change(transaction, path.below, number, self._node_of_bucket(transaction, path.bucket))
        _change(transaction, path.groups, group, self._node_of_group(group, path.below))
        return self.top(path.groups)

    def nodes(self, seals: Mapping[int, Iterable[bytes]]) -> dict[int, bytes]:
        """Return all nodes over the seals of entries, by bucket, sorted by their names in each."""
        found = {_number(bucket): self._over(b"entries", bucket, each) for bucket, each in seals.items()}
        for group in {bucket // _BUCKETS for bucket in seals}:
            node = self._node_of_group(group, found)
            assert node is not None
            found[group] = node
        return found

    def write(self, transaction: Transaction, nodes: Mapping[int, bytes]) -> None:
        """Write all nodes in the place of those that are there, if these are others."""
        present = _read(transaction, 0, _number(_GROUPS * _BUCKETS))
        for number in present.keys() | nodes.keys():
            if present.get(number) != nodes.get(number):
                _put(transaction, number, nodes.get(number))

    def _node_of_bucket(self, transaction: Transaction, bucket: int) -> bytes | None:
        rows = transaction.read("SELECT seal FROM entries WHERE bucket = ? ORDER BY namespace, name", bucket)
        return self._over(b"entries", bucket, (row[0] for row in rows)) if rows else None

    def _node_of_group(self, group: int, nodes: Mapping[int, bytes]) -> bytes | None:
        first = _number(group * _BUCKETS)
        if not any(number in nodes for number in range(first, first + _BUCKETS)):
            return None
        return self._over(b"group", group, (nodes.get(first + place, _NONE) for place in range(_BUCKETS)))

    def _over(self, kind: bytes, number: int, seals: Iterable[bytes]) -> bytes:
        return self._root.node(kind, number, *seals)


def _number(bucket: int) -> int:
    return _GROUPS + bucket


def _read(transaction: Transaction, first: int, behind: int) -> dict[int, bytes]:
    rows: list[Any] = transaction.read("SELECT node, seal FROM tree WHERE node >= ? AND node < ?", first, behind)
    return {row[0]: row[1] for row in rows}


def _change(transaction: Transaction, nodes: dict[int, bytes], number: int, seal: bytes | None) -> None:
    _put(transaction, number, seal)
    if seal is None:
        nodes.pop(number, None)
    else:
        nodes[number] = seal


def _put(transaction: Transaction, number: int, seal: bytes | None) -> None:
    if seal is None:
        transaction.execute("DELETE FROM tree WHERE node = ?", number)
    else:
        transaction.execute("INSERT OR REPLACE INTO tree VALUES (?, ?)", number, seal)
