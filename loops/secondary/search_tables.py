"""Tables of the search: sources, and their passages with a vector each. Runs in the database's thread."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tlsrt import Failed, NotFound, Transaction
from tlsrt.loops.secondary.namespaces import Quota
from tlsrt.loops.secondary.passages import Passage

STEPS = [
    """
    CREATE TABLE sources (id INTEGER PRIMARY KEY, space TEXT NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
        at_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, passages INTEGER NOT NULL, model TEXT NOT NULL,
        UNIQUE (space, name)) STRICT;
    CREATE TABLE passages (id INTEGER PRIMARY KEY, source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
        start INTEGER NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL) STRICT;
    CREATE INDEX passages_source ON passages (source);
    """,
    "ALTER TABLE sources ADD COLUMN author TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE sources ADD COLUMN mark TEXT NOT NULL DEFAULT ''",
]
KINDS = ("note", "file", "message")
PART = ":"  # behind whose namespace it is, before a part of it: no namespace of others has one in its name
_PAGE = 5000  # rows of one read


@dataclass(frozen=True, slots=True)
class Source:
    """A text that is added: whose, what it is called, and its passages with their vectors, each of `size` bytes."""

    space: str
    name: str
    kind: int
    at_ms: int
    model: str
    passages: Sequence[Passage]
    vectors: bytes
    author: str  # who has added it
    mark: str = ""  # by which who has added it knows what it was

    @property
    def size(self) -> int:
        """What it takes, as quotas count it."""
        return sum(len(one.text.encode()) for one in self.passages) + len(self.vectors)


@dataclass(frozen=True, slots=True)
class Index:
    """All vectors of a namespace that are of one model, as its worker takes them; and how many are of others."""

    ids: bytes
    kinds: bytes
    vectors: bytes
    outdated: int


def owner_of(space: str) -> str:
    """Return whose a namespace is, or a part of it: `third/files:work` is of third/files."""
    return space.partition(PART)[0]


def _own(transaction: Transaction, owner: str) -> int:
    """Return how many passages a caller has in its own namespace and the parts of it."""
    (own,) = transaction.read(
        "SELECT coalesce(sum(passages), 0) FROM sources WHERE space = ? OR substr(space, 1, ?) = ?",
        owner, len(owner) + 1, f"{owner}{PART}",
    )[0]  # fmt: skip
    return int(own)


def parts(transaction: Transaction, owner: str) -> list[str]:
    """Return the parts of a caller's own namespace that hold something."""
    rows = transaction.read(
        "SELECT DISTINCT space FROM sources WHERE substr(space, 1, ?) = ? ORDER BY space LIMIT 1000",
        len(owner) + 1, f"{owner}{PART}",
    )  # fmt: skip
    return [row["space"][len(owner) + 1 :] for row in rows]


def add(transaction: Transaction, new: Source, quota: Quota, most: int) -> bool:
    """Write a source in place of the one of its name; return whether there was one. Raises Failed if it has no room."""
    held, names = transaction.read(
        "SELECT coalesce(sum(bytes), 0), count(*) FROM sources WHERE space = ?", new.space
    )[0]  # fmt: skip
    (count,) = transaction.read("SELECT coalesce(sum(passages), 0) FROM sources")[0]
    old = transaction.read("SELECT id, bytes, passages FROM sources WHERE space = ? AND name = ?", new.space, new.name)
    old_bytes, old_count = (old[0]["bytes"], old[0]["passages"]) if old else (0, 0)
    quota.check(new.space, held, names, new.size - old_bytes, 0 if old else 1)
    more = len(new.passages) - old_count
    if count + more > most:
        raise Failed(f"the index holds {count} passages and may hold {most}: remove sources, or raise max_passages")
    is_own = owner_of(new.space) == new.author
    own = _own(transaction, new.author) if is_own else 0
    if is_own and own + more > most - count - more:  # its own, of which there may be many
        raise Failed(
            f"{own} passages of yours are there, and one caller may hold as many as are left for all others, "
            f"{most - count} now: remove sources, or have max_passages raised"
        )
    if old:
        transaction.execute("DELETE FROM sources WHERE id = ?", old[0]["id"])
    number = transaction.execute(
        "INSERT INTO sources (space, name, kind, at_ms, bytes, passages, model, author, mark) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        new.space, new.name, new.kind, new.at_ms, new.size, len(new.passages), new.model, new.author, new.mark,
    ).last_id  # fmt: skip
    size = len(new.vectors) // max(1, len(new.passages))
    transaction.execute_many(
        "INSERT INTO passages (source, start, text, vector) VALUES (?, ?, ?, ?)",
        [
            (number, one.start, one.text, new.vectors[at * size : (at + 1) * size])
            for at, one in enumerate(new.passages)
        ],
    )
    return bool(old)


def remove(transaction: Transaction, space: str, name: str) -> int:
    """Remove a source; return how many passages it had. Raises NotFound."""
    rows = transaction.execute("DELETE FROM sources WHERE space = ? AND name = ? RETURNING passages", space, name).rows
    if not rows:
        raise NotFound(f"no source {name!r}; `sources` lists them")
    return int(rows[0]["passages"])


def sources(transaction: Transaction, space: str, after: str, limit: int) -> list[dict[str, Any]]:
    """Return sources by name, behind one."""
    rows = transaction.read(
        "SELECT name, kind, at_ms, author, bytes, passages, mark FROM sources WHERE space = ? AND name > ? "
        "ORDER BY name LIMIT ?",
        space, after, limit,
    )  # fmt: skip
    return [{**dict(row), "kind": KINDS[row["kind"]]} for row in rows]


def index(transaction: Transaction, space: str, model: str) -> Index:
    """Return all vectors of a namespace."""
    ids, kinds, vectors = [], bytearray(), bytearray()
    for row in _all(transaction, space, model):
        ids.append(row["id"])
        kinds.append(row["kind"])
        vectors += row["vector"]
    (outdated,) = transaction.read(
        "SELECT coalesce(sum(passages), 0) FROM sources WHERE space = ? AND model <> ?", space, model
    )[0]  # fmt: skip
    return Index(struct.pack(f"<{len(ids)}q", *ids), bytes(kinds), bytes(vectors), outdated)


def _all(transaction: Transaction, space: str, model: str) -> Iterator[Any]:
    last = 0
    while True:
        rows = transaction.read(
            "SELECT p.id, s.kind, p.vector FROM passages p JOIN sources s ON p.source = s.id "
            "WHERE s.space = ? AND s.model = ? AND p.id > ? ORDER BY p.id LIMIT ?",
            space, model, last, _PAGE,
        )  # fmt: skip
        yield from rows
        if len(rows) < _PAGE:
            return
        last = rows[-1]["id"]


def found(transaction: Transaction, space: str, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return those passages that are in this namespace, whatever ids a worker has named."""
    rows = transaction.read(
        f"SELECT p.id, s.name AS source, s.kind, s.at_ms, s.author, p.start, p.text FROM passages p "  # noqa: S608  # marks alone
        f"JOIN sources s ON p.source = s.id WHERE s.space = ? AND p.id IN ({', '.join('?' * len(ids))})",
        space, *ids,
    )  # fmt: skip
    names = ("source", "at_ms", "author", "start", "text")
    return {row["id"]: {name: row[name] for name in names} | {"kind": KINDS[row["kind"]]} for row in rows}


def outdated(transaction: Transaction, model: str) -> tuple[int, str, list[str]] | None:
    """Return id, namespace and passages of a source whose vectors are of another model, None if there is none."""
    rows = transaction.read("SELECT id, space FROM sources WHERE model <> ? ORDER BY id LIMIT 1", model)
    if not rows:
        return None
    texts = transaction.read("SELECT text FROM passages WHERE source = ? ORDER BY id", rows[0]["id"])
    return rows[0]["id"], rows[0]["space"], [row["text"] for row in texts]


def renew(transaction: Transaction, number: int, model: str, vectors: bytes) -> None:
    """Give a source vectors of another model, if it is still there with as many passages."""
    ids = [row["id"] for row in transaction.read("SELECT id FROM passages WHERE source = ? ORDER BY id", number)]
    if not ids or len(vectors) % len(ids):
        return
    size = len(vectors) // len(ids)
    transaction.execute_many(
        "UPDATE passages SET vector = ? WHERE id = ?",
        [(vectors[at * size : (at + 1) * size], one) for at, one in enumerate(ids)],
    )
    transaction.execute("UPDATE sources SET model = ? WHERE id = ?", model, number)
