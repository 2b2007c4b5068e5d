"""Tables of the secrets service, and how much of everything it keeps."""

from __future__ import annotations

from dataclasses import dataclass

VALUE_BYTES = 64 << 10
VERSIONS_MOST = 20  # of one name, those whose value is erased included
NAMESPACES_MOST = 1000
LEASES_MOST = 10_000
LEASES_SHARE = 1000  # of one reader
CHANGES_MOST = 10_000
SLACK = 64  # rows beyond a bound, so that not each one has to remove another
RESEALED_TOGETHER = 32  # values in one transaction

NO_LEASE = "there is no such lease, or it has ended: read the secret again"  # also of one that is another's

STEPS = [
    """
    CREATE TABLE whole (only INTEGER PRIMARY KEY CHECK (only = 1), revision INTEGER NOT NULL, entries BLOB NOT NULL,
        seal BLOB NOT NULL, root_name TEXT NOT NULL) STRICT;
    CREATE TABLE namespaces (namespace TEXT PRIMARY KEY, key_number INTEGER NOT NULL, names INTEGER NOT NULL,
        bytes INTEGER NOT NULL) STRICT;
    CREATE TABLE data_keys (namespace TEXT NOT NULL, number INTEGER NOT NULL, wrapped BLOB NOT NULL,
        PRIMARY KEY (namespace, number)) STRICT;
    CREATE TABLE entries (namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
        changed INTEGER NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (namespace, name)) STRICT;
    CREATE TABLE versions (namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
        key_number INTEGER NOT NULL, sealed BLOB, size INTEGER NOT NULL, is_text INTEGER NOT NULL,
        at_ms INTEGER NOT NULL, ends_ms INTEGER, writer TEXT NOT NULL,
        PRIMARY KEY (namespace, name, version)) STRICT;
    CREATE INDEX versions_end ON versions (ends_ms) WHERE ends_ms IS NOT NULL AND sealed IS NOT NULL;
    CREATE INDEX versions_key ON versions (namespace, key_number) WHERE sealed IS NOT NULL;
    CREATE TABLE changes (revision INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL,
        version INTEGER NOT NULL, operation TEXT NOT NULL, at_ms INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
    CREATE TABLE leases (lease TEXT PRIMARY KEY, reader TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        version INTEGER NOT NULL, since_ms INTEGER NOT NULL, ends_ms INTEGER NOT NULL,
        UNIQUE (reader, namespace, name, version)) STRICT;
    CREATE INDEX leases_name ON leases (namespace, name);
    CREATE INDEX leases_end ON leases (ends_ms);
    CREATE TABLE reads (number INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, name TEXT NOT NULL,
        version INTEGER NOT NULL, reader TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
    CREATE INDEX reads_name ON reads (namespace, name, number);
    """,
    # The tree in the place of a sum; it is filled at the first start, as that takes the root.
    """
    ALTER TABLE entries ADD COLUMN bucket INTEGER;
    CREATE INDEX entries_bucket ON entries (bucket, namespace, name);
    CREATE TABLE tree (node INTEGER PRIMARY KEY, seal BLOB NOT NULL) STRICT;
    """,
]


@dataclass(frozen=True)
class Bounds:
    """What an operator may set: bytes of all values, and records of reads that are kept."""

    max_bytes: int
    reads: int


@dataclass(frozen=True)
class SecretChange:
    """One change of a name: put, rotate, delete, destroy, or the end of a version's grace (close). Wall ms."""

    revision: int
    namespace: str
    name: str
    version: int
    operation: str
    at_ms: int

    def told(self) -> dict[str, object]:
        """Return it as a watcher hears it."""
        return {
            "operation": self.operation, "name": self.name, "version": self.version, "revision": self.revision,
        }  # fmt: skip


@dataclass(frozen=True)
class Lease:
    """What a reader has been given, and until when it may count on it (wall ms)."""

    lease: str
    reader: str
    namespace: str
    name: str
    version: int
    since_ms: int
    ends_ms: int

    def told(self, **more: object) -> dict[str, object]:
        """Return it as its holder and an operator see it. Never a value."""
        return {
            "lease": self.lease, "reader": self.reader, "namespace": self.namespace, "name": self.name,
            "version": self.version, "since": self.since_ms / 1000, "ends_at": self.ends_ms / 1000, **more,
        }  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a change has done: itself, the data that it wrote, and the leases that it ended or shortened."""

    changes: tuple[SecretChange, ...] = ()
    version: int = 0
    before: int = 0  # the version that it replaced, 0 for none
    shortened: tuple[Lease, ...] = ()
    ended: tuple[Lease, ...] = ()
