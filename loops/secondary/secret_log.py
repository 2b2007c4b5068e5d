"""The order of all changes of the secrets service, the seal over all entries, and the look for damage.

Each change has a revision, which rises for ever and is the number of the version that it makes. An entry (which version
of a name is the present one, and which revision changed it last) has a seal, all these have a tree whose top has one,
and so has each change. So a row that was put back from an older copy, taken out, or moved, is found: by its own seal,
by the changes that are kept, which name it, or by the tree, which does not.

All of it runs in the database's thread.
"""

from __future__ import annotations

from typing import Any

from tlsrt import ConfigError, Conflict, Failed, InvalidArgument, Transaction
from tlsrt.loops.secondary.sealing import SEAL_BYTES, BrokenSeal, Root, sum_of
from tlsrt.loops.secondary.secret_keys import VERSION_COLUMNS, SecretKeys
from tlsrt.loops.secondary.secret_schema import CHANGES_MOST, SLACK, SecretChange
from tlsrt.loops.secondary.secret_tree import UNKNOWN, SecretTree

_PAGE = 500
Name = tuple[str, str]


class SecretLog:
    """Revisions, seals and damage. `name_of_root` tells one root from another, and nothing of it."""

    def __init__(self, root: Root, name_of_root: str) -> None:
        self._root = root
        self._name_of_root = name_of_root
        self._tree = SecretTree(root)
        self.damaged: dict[Name, str] = {}  # why a secret is not served
        self.notice = ""  # what is wrong and cannot be put to one secret

    def begin(self, transaction: Transaction) -> None:
        """Write the first row, or look whether the root is that of these tables. Raises ConfigError."""
        rows = transaction.read("SELECT root_name FROM whole")
        if rows and rows[0][0] != self._name_of_root:
            raise ConfigError(
                f"these secrets were sealed under another root ({rows[0][0]}) than the one given now "
                f"({self._name_of_root}): put back secrets/secondary.secrets of the state folder from a backup of the "
                "same time; or, to begin with no secrets, move data.sqlite and data.mark of this component away"
            )
        if not rows:
            self._write(transaction, 0, self._tree.top({}))
        elif len(transaction.read("SELECT entries FROM whole")[0][0]) == SEAL_BYTES:
            self._plant(transaction)

    def _plant(self, transaction: Transaction) -> None:
        """Make the tree of a database that has a sum of seals, if that is right; else the loss is told as before."""
        revision, total, seal = transaction.read("SELECT revision, entries, seal FROM whole")[0]
        try:
            self._root.check(seal, b"whole", revision, total)
            is_right = sum_of(row[0] for row in transaction.read("SELECT seal FROM entries")) == total
        except BrokenSeal:
            is_right = False
        for namespace, name in transaction.read("SELECT namespace, name FROM entries"):
            bucket = self._tree.bucket((namespace, name))
            where = "WHERE namespace = ? AND name = ?"
            transaction.execute(f"UPDATE entries SET bucket = ? {where}", bucket, namespace, name)  # noqa: S608
        nodes = self._look_at_entries(transaction)
        self._tree.write(transaction, nodes)
        self._write(transaction, revision, self._tree.top(nodes) if is_right else UNKNOWN)

    def revision(self, transaction: Transaction) -> int:
        """Return the revision of the last change."""
        return int(transaction.read("SELECT revision FROM whole")[0][0])

    def note(
        self, transaction: Transaction, name: Name, present: int | None, version: int, operation: str, now_ms: int
    ) -> SecretChange:
        """Note the next change of a name, whose present version is this from now on (0: no value, None: no entry)."""
        revision, top, whole = transaction.read("SELECT revision + 1, entries, seal FROM whole")[0]
        path = self._tree.path(transaction, name, top) if self._is_top(revision - 1, top, whole) else None
        if present is None:
            transaction.execute("DELETE FROM entries WHERE namespace = ? AND name = ?", *name)
        else:
            seal = self._root.seal(b"entry", *name, present, revision)
            row = (*name, present, revision, seal, self._tree.bucket(name))
            transaction.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?)", *row)
        if path is not None:
            top = self._tree.update(transaction, path)
        else:  # what was exchanged is not to be taken for ours: each look finds it from now on
            self.notice, top = self.notice or self._lost(), UNKNOWN
        change = SecretChange(revision, *name, version, operation, now_ms)
        transaction.execute(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?)",
            *_fields(change),
            self._root.seal(b"change", *_fields(change)),
        )
        if revision % SLACK == 0:
            transaction.execute("DELETE FROM changes WHERE revision <= ?", revision - CHANGES_MOST)
        self._write(transaction, revision, top)
        return change

    def _is_top(self, revision: int, top: bytes, seal: bytes) -> bool:
        try:
            self._root.check(seal, b"whole", revision, top)
        except BrokenSeal:
            return False
        return True

    def _write(self, transaction: Transaction, revision: int, top: bytes) -> None:
        seal = self._root.seal(b"whole", revision, top)
        row = (revision, top, seal, self._name_of_root)
        transaction.execute("INSERT OR REPLACE INTO whole VALUES (1, ?, ?, ?, ?)", *row)

    def present(self, transaction: Transaction, name: Name) -> int | None:
        """Return the present version of a name, 0 for one without a value, None for no entry. Raises Failed."""
        rows = transaction.read("SELECT version, changed, seal FROM entries WHERE namespace = ? AND name = ?", *name)
        if why := self.damaged.get(name):
            raise self.refusal(name, why)
        if not rows:
            return None
        try:
            self._root.check(rows[0]["seal"], b"entry", *name, rows[0]["version"], rows[0]["changed"])
        except BrokenSeal:
            self.damaged[name] = why = "its entry is damaged"
            raise self.refusal(name, why) from None
        return int(rows[0]["version"])

    def replaced(self, transaction: Transaction, name: Name) -> int | None:
        """Return the same for a change that does not ask for it: what is damaged may be put anew, or deleted."""
        rows = transaction.read("SELECT version FROM entries WHERE namespace = ? AND name = ?", *name)
        return int(rows[0]["version"]) if rows else None

    def refusal(self, name: Name, why: str) -> Failed:
        """Return the error of a secret that is not served."""
        return Failed(f"the secret {name[1]!r} is not served, since {why} on the disk; put it anew or delete it")

    # -- changes ----------------------------------------------------------------------------------------------

    def since(self, transaction: Transaction) -> int:
        """Return the revision behind which all changes are kept."""
        first = transaction.read("SELECT min(revision) - 1 FROM changes")[0][0]
        return self.revision(transaction) if first is None else int(first)

    def changes(self, transaction: Transaction, since: int, limit: int) -> list[SecretChange]:
        """Return the changes behind a revision. Raises InvalidArgument, Conflict, Failed."""
        revision, first = self.revision(transaction), self.since(transaction)
        if since > revision:
            raise InvalidArgument(f"since: {since} is not yet there, the last change is {revision}")
        if since < first:
            raise Conflict(
                f"changes up to {first} are no longer kept, so those since {since} are not all there; list the names "
                f"anew and watch since {revision}"
            )
        found = []
        rows = transaction.read("SELECT * FROM changes WHERE revision > ? ORDER BY revision LIMIT ?", since, limit)
        for number, row in enumerate(rows, since + 1):
            change = SecretChange(*row[:6])
            if row[0] != number or not self._is_whole(row):
                raise Failed(f"change {number} is damaged on the disk; list the names anew and watch since {revision}")
            found.append(change)
        return found

    def _is_whole(self, row: Any) -> bool:
        try:
            self._root.check(row["seal"], b"change", *row[:6])
        except BrokenSeal:
            return False
        return True

    # -- damage -----------------------------------------------------------------------------------------------

    def look(self, transaction: Transaction, keys: SecretKeys) -> None:
        """Compare all that is there with its seals; what is wrong is in `damaged` and `notice`."""
        self.damaged, self.notice = {}, ""
        nodes = self._look_at_entries(transaction)
        self._look_at_changes(transaction)
        self._look_at_values(transaction, keys)
        rows = transaction.read("SELECT revision, entries, seal FROM whole")
        if rows and self._is_top(*rows[0]) and self._tree.top(nodes) == rows[0]["entries"]:
            self._tree.write(transaction, nodes)  # of which one may be damaged, and it follows from the entries
        else:
            self.notice = self._lost()

    def _lost(self) -> str:
        return (
            "entries are missing, or older than they were"
            + ("" if self.damaged else ", and which ones is not known")
            + ": restore this component, or call `accept` to go on with what is there"
        )

    def _look_at_entries(self, transaction: Transaction) -> dict[int, bytes]:
        """Find entries that are damaged; return the nodes of the tree over those that are there."""
        seals: dict[int, list[bytes]] = {}
        last = ("", "")
        while rows := transaction.read(
            f"SELECT * FROM entries WHERE (namespace, name) > (?, ?) ORDER BY namespace, name LIMIT {_PAGE}",  # noqa: S608
            *last,
        ):
            for row in rows:
                name = last = (row["namespace"], row["name"])
                bucket = self._tree.bucket(name)
                seals.setdefault(bucket, []).append(row["seal"] if row["bucket"] == bucket else b"elsewhere")
                try:
                    self._root.check(row["seal"], b"entry", *name, row["version"], row["changed"])
                except BrokenSeal:
                    self.damaged[name] = "its entry is damaged"
        return self._tree.nodes(seals)

    def _look_at_changes(self, transaction: Transaction) -> None:
        """Find entries that are not those of the last change of their name."""
        last = 0
        while rows := transaction.read(
            "SELECT changes.*, entries.changed FROM changes LEFT JOIN entries USING (namespace, name) "
            "WHERE revision > ? ORDER BY revision LIMIT ?",
            last,
            _PAGE,
        ):
            for row in rows:
                last = row["revision"]
                if not self._is_whole(row):
                    continue
                name, changed = (row["namespace"], row["name"]), row["changed"]
                if row["operation"] == "delete":
                    if self.damaged.get(name) in (_MISSING, _OLDER):
                        del self.damaged[name]
                    if changed is not None and changed < last:
                        self.damaged[name] = "it was deleted, and is there again"
                elif changed is None:
                    self.damaged[name] = _MISSING
                elif changed < last:
                    self.damaged[name] = _OLDER

    def _look_at_values(self, transaction: Transaction, keys: SecretKeys) -> None:
        last: tuple[str, str, int] = ("", "", 0)
        while rows := transaction.read(
            f"SELECT {VERSION_COLUMNS} FROM versions WHERE (namespace, name, version) > (?, ?, ?) "  # noqa: S608
            f"ORDER BY namespace, name, version LIMIT {_PAGE}",
            *last,
        ):
            for row in rows:
                last = (row["namespace"], row["name"], row["version"])
                if row["sealed"] is None:
                    continue
                try:
                    keys.open(transaction, row)
                except BrokenSeal:
                    self.damaged.setdefault(last[:2], f"the value of its version {last[2]} is damaged")

    def accept(self, transaction: Transaction) -> None:
        """Take the entries that are there for all; those that are damaged stay so."""
        for namespace, name in transaction.read("SELECT namespace, name FROM entries"):
            transaction.execute(
                "UPDATE entries SET bucket = ? WHERE namespace = ? AND name = ?",
                self._tree.bucket((namespace, name)), namespace, name,
            )  # fmt: skip
        nodes = self._look_at_entries(transaction)
        self._tree.write(transaction, nodes)
        (last,) = transaction.read("SELECT max(revision) FROM changes")[0]  # also if the count was put back
        self._write(transaction, max(self.revision(transaction), last or 0), self._tree.top(nodes))
        self.notice = ""

    def go_on_behind(self, transaction: Transaction, revision: int) -> None:
        """Give no revision again, up to this one."""
        (top,) = transaction.read("SELECT entries FROM whole")[0]
        if revision > self.revision(transaction):
            transaction.execute("DELETE FROM changes")  # who watches would have a hole
            self._write(transaction, revision, top)


_MISSING = "it is missing"
_OLDER = "it is older than it was"


def _fields(change: SecretChange) -> tuple[int, str, str, int, str, int]:
    return (
        change.revision, change.namespace, change.name, change.version, change.operation, change.at_ms
    )  # fmt: skip
