"""Schema of the store's database, its checksums, and its older formats.

Each value has a checksum over all that belongs to it, so that a bit that flips on the disk is found before the value
is served. The counter's row has the sum of the identities of all entries; with it an entry that got lost, or was put
back to an older revision, is found when the store is opened. Both find accidents and not attackers, who could write
them too.
"""

from __future__ import annotations

import hashlib
import sqlite3

from tlsrt import ConfigError

FORMAT = 3  # 1: without checksums; 2: on its way from 1 to 3
SUM_BYTES = 16
_MODULUS = 1 << (8 * SUM_BYTES)
_TOGETHER = 500  # entries changed in one transaction

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE entries (
    namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, revision INTEGER NOT NULL, expires_ms INTEGER,
    checksum BLOB, UNIQUE (namespace, key)
) STRICT;
CREATE INDEX entries_expiry ON entries (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE counter (only INTEGER PRIMARY KEY CHECK (only = 1), revision INTEGER NOT NULL, identities BLOB) STRICT;
INSERT INTO counter VALUES (1, 0, zeroblob(16));
PRAGMA user_version = 3;
COMMIT;
"""
_FROM_1 = """
BEGIN IMMEDIATE;
ALTER TABLE entries ADD COLUMN checksum BLOB;
ALTER TABLE counter ADD COLUMN identities BLOB;
PRAGMA user_version = 2;
COMMIT;
"""


def checksum(namespace: str, key: str, value: bytes, revision: int, expires_ms: int | None) -> bytes:
    """Return the checksum of one entry. Pure."""
    head = f"{namespace}\0{key}\0{revision}\0{expires_ms}\0".encode()  # no name has a NUL
    return hashlib.blake2b(head + value, digest_size=SUM_BYTES, person=b"tlsrt-value").digest()


def identity(namespace: str, key: str, revision: int) -> int:
    """Return the number that stands for one entry in the sum. Pure."""
    data = f"{namespace}\0{key}\0{revision}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=SUM_BYTES, person=b"tlsrt-entry").digest(), "big")


def add_identity(total: bytes, number: int) -> bytes:
    """Return the sum with one identity more, or less if it is negative. Pure."""
    return ((int.from_bytes(total, "big") + number) % _MODULUS).to_bytes(SUM_BYTES, "big")


def prepare_schema(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older format here. Raises sqlite3.Error, ConfigError for a newer format."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(SCHEMA)
        return
    if version == 1:
        connection.executescript(_FROM_1)
        version = 2
    if version == 2:
        _add_checksums(connection)
    elif version != FORMAT:
        raise ConfigError(
            f"cannot open the store: it has format {version}, this runtime reads {FORMAT}; install a newer one"
        )


def _add_checksums(connection: sqlite3.Connection) -> None:
    """Give each entry its checksum, some at a time: what is interrupted goes on at the next start."""
    total, last = bytes(SUM_BYTES), -1
    while True:
        rows = connection.execute(
            "SELECT rowid, namespace, key, value, revision, expires_ms FROM entries WHERE rowid > ? ORDER BY rowid "
            "LIMIT ?",
            (last, _TOGETHER),
        ).fetchall()
        if not rows:
            break
        connection.execute("BEGIN IMMEDIATE")
        for rowid, *entry in rows:
            connection.execute("UPDATE entries SET checksum = ? WHERE rowid = ?", (checksum(*entry), rowid))
            total = add_identity(total, identity(entry[0], entry[1], entry[3]))
        connection.execute("COMMIT")
        last = rows[-1][0]
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE counter SET identities = ?", (total,))
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")
