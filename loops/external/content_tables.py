"""Attachments in the database: they come in order, over any number of connections, and count when their SHA-256 fits.

A file that is being sent is named by its owner, name, size and SHA-256, so what is here of it is the begin of the very
same bytes. It is a row, and its bytes are pieces. What no message has taken after a day is removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from tlsrt import Conflict, Database, Failed, Transaction
from tlsrt.loops.external.message_room import MessageRoom
from tlsrt.loops.external.message_tables import MessageTables

IDLE_MS = 86_400_000
PIECE_BYTES = 128 * 1024  # that a piece has, but for the last one before a break
SPARE_PIECES = 256  # pieces that are smaller
UNSENT = 64  # files of one owner that no message has


class ContentTables:
    """Each function is one transaction."""

    def __init__(self, messages: MessageTables, room: MessageRoom, attachment_bytes: int) -> None:
        self._messages = messages
        self._room = room
        self._most = attachment_bytes

    def begin(
        self, transaction: Transaction, owner: str, name: str, size: int, sha256: str, now_ms: int
    ) -> tuple[int, bool]:
        """Return how many bytes of a file are here, and whether that is all. Raises Failed at a bound."""
        row = self._row(transaction, owner, name, size, sha256)
        if row is not None:
            transaction.execute("UPDATE contents SET changed_ms = ? WHERE number = ?", now_ms, row["number"])
            return row["have"], bool(row["is_whole"])
        if size > self._most:
            raise Failed(f"{name} has {size} bytes, and an attachment has {self._most} at most: see `attachment_mb`")
        [unsent] = transaction.read(
            "SELECT count(*) AS files FROM contents WHERE owner = ? AND NOT EXISTS (SELECT 1 FROM attached "
            "WHERE content = contents.number)", owner,
        )  # fmt: skip
        if unsent["files"] >= UNSENT:
            raise Failed(f"{UNSENT} files of {owner} belong to no message yet: send those, or wait for a day")
        self._room.check_all(transaction, owner, size)
        is_whole = size == 0 and sha256 == hashlib.sha256().hexdigest()
        transaction.execute(
            "INSERT INTO contents (owner, name, size, sha256, have, is_whole, changed_ms) VALUES (?, ?, ?, ?, 0, ?, ?)",
            owner, name, size, sha256, int(is_whole), now_ms,
        )  # fmt: skip
        transaction.execute("UPDATE totals SET bytes = bytes + ?", size)
        return 0, is_whole

    def write(
        self, transaction: Transaction, owner: str, name: str, size: int, sha256: str, offset: int, data: bytes,
        now_ms: int,
    ) -> int:  # fmt: skip
        """Take the next bytes; return how many are here, -1 if it came in so many pieces that it was removed.

        Raises Conflict for bytes that do not go on there.
        """
        row = self._row(transaction, owner, name, size, sha256)
        have = row["have"] if row is not None else 0
        if row is None or row["is_whole"] or offset != have:
            raise Conflict(f"{have} bytes of {name} are here, so it does not go on at {offset}: ask begin_put")
        if have + len(data) > size:
            raise Conflict(f"{name}: more bytes came than were announced, and were not taken")
        [pieces] = transaction.read("SELECT count(*) AS count FROM pieces WHERE content = ?", row["number"])
        if pieces["count"] >= SPARE_PIECES + size // PIECE_BYTES:
            self._messages.drop_content(transaction, row["number"])
            return -1
        transaction.execute("INSERT INTO pieces VALUES (?, ?, ?)", row["number"], have, data)
        transaction.execute(
            "UPDATE contents SET have = ?, changed_ms = ? WHERE number = ?", have + len(data), now_ms, row["number"]
        )
        return have + len(data)

    def finish(self, transaction: Transaction, owner: str, name: str, size: int, sha256: str) -> bool:
        """Compare a file with its SHA-256 if all of it is here. A wrong one is removed, and False."""
        row = self._row(transaction, owner, name, size, sha256)
        if row is None or row["is_whole"] or row["have"] < size:
            return row is not None
        running = hashlib.sha256()
        at = 0
        while at < size:
            data = self.piece(transaction, row["number"], at)
            running.update(data)
            at += len(data)
        if running.hexdigest() != sha256:
            self._messages.drop_content(transaction, row["number"])
            return False
        transaction.execute("UPDATE contents SET is_whole = 1 WHERE number = ?", row["number"])
        return True

    def piece(self, transaction: Transaction, content: int, offset: int) -> bytes:
        """Return bytes of a file from `offset` on, to the end of a piece."""
        rows = transaction.read(
            "SELECT at, data FROM pieces WHERE content = ? AND at <= ? ORDER BY at DESC LIMIT 1", content, offset
        )
        return bytes(rows[0]["data"][offset - rows[0]["at"] :]) if rows else b""

    def leaving(self, transaction: Transaction, message_id: str, speaker: str, name: str, sha256: str) -> int:
        """Return the number of an attachment of a message that goes to another host."""
        rows = transaction.read(
            "SELECT content FROM attached JOIN contents ON contents.number = content JOIN messages ON "
            "messages.number = attached.message JOIN outgoing ON outgoing.message = messages.number "
            "WHERE messages.id = ? AND speaker = ? AND attached.name = ? AND sha256 = ? LIMIT 1",
            message_id, speaker, name, sha256,
        )  # fmt: skip
        if not rows:
            raise Conflict(f"the attachment {name} is here no more")
        return int(rows[0]["content"])

    def forget(self, transaction: Transaction, owner: str, name: str, size: int, sha256: str) -> bool:
        """Remove a file of an owner that no message has; return whether there was one."""
        row = self._row(transaction, owner, name, size, sha256)
        if row is None or transaction.read("SELECT 1 FROM attached WHERE content = ? LIMIT 1", row["number"]):
            return False
        self._messages.drop_content(transaction, row["number"])
        return True

    def sweep(self, transaction: Transaction, now_ms: int) -> None:
        """Remove files that no message has taken for a day."""
        rows = transaction.read(
            "SELECT number FROM contents WHERE changed_ms < ? AND NOT EXISTS (SELECT 1 FROM attached "
            "WHERE content = contents.number) LIMIT 64", now_ms - IDLE_MS,
        )  # fmt: skip
        for row in rows:
            self._messages.drop_content(transaction, row["number"])

    def _row(self, transaction: Transaction, owner: str, name: str, size: int, sha256: str) -> Any:
        rows = transaction.read(
            "SELECT * FROM contents WHERE owner = ? AND name = ? AND size = ? AND sha256 = ?", owner, name, size, sha256
        )
        return rows[0] if rows else None


async def receive(
    database: Database, contents: ContentTables, owner: str, about: tuple[str, int, str], offset: int,
    data: AsyncIterator[bytes], wall_ms: Callable[[], int],
) -> tuple[int, bool]:  # fmt: skip
    """Take the next bytes of a file, which stay if this breaks; return how many are here, and whether that is all.

    Raises Conflict, also for a wrong SHA-256, and Failed.
    """
    waiting = bytearray()

    async def write() -> None:
        nonlocal offset
        part = bytes(waiting)
        waiting.clear()
        offset = await database.transaction(contents.write, owner, *about, offset, part, wall_ms())
        if offset < 0:
            raise Failed(f"{about[0]} came in too many small pieces, and was removed: send more at once")

    try:
        async for part in data:
            waiting += part
            if len(waiting) >= PIECE_BYTES:
                await write()
    finally:
        if waiting:
            await write()
    if not await database.transaction(contents.finish, owner, *about):
        raise Conflict(f"{about[0]}: what came is not what was announced (other SHA-256), so nothing of it was kept")
    return offset, offset == about[1]
