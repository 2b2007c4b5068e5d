"""Messages in the database: sending, mailboxes, receipts. Each public function is one transaction, and all of it.

A message is one row, with a row of `mail` for each mailbox here and one of `outgoing` for each other host. It is done
when each of these is, and then only its head is kept, for who sent it. `source` is who handed it in: a caller, or
"@HOST". It and the id name a message, so what is handed in again is the message that is there already. Which ids were
there is remembered in `seen` when the message is gone: until it expires, or until the host says that it has heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tlsrt import Conflict, Failed, InvalidArgument, NotFound, Transaction
from tlsrt.loops.external.message import HOPS, MESSAGE, RECEIPT, Attached, Envelope, split_host
from tlsrt.loops.external.message_room import MessageRoom
from tlsrt.loops.external.message_schema import ROW_BYTES

REPEAT_MS = 15 * 60_000  # how long the id of a caller is remembered
SEEN_MOST = 20_000  # ids of one source
_TRIM = 1024  # ids that are added until that is looked at
HEADS = 200  # of one sender, of messages that are done
DEAD_MS = 30 * 86_400_000  # how long what could not be delivered is shown
_NAMES = "id kind sender recipient topic content_type body created_ms expires_ms priority in_reply_to hops origin"
FIELDS = ", ".join(f"messages.{name} AS {name}" for name in (*_NAMES.split(), "bytes", "number"))
# The same with the begin of a text, or the size of bytes, in the place of the body: 64 KiB of it may take 256 as text.
HEADS_FIELDS = FIELDS.replace(
    "messages.body AS body", "CASE typeof(messages.body) WHEN 'text' THEN substr(messages.body, 1, 80) "
    "ELSE length(messages.body) || ' bytes' END AS body",
)  # fmt: skip
_LEFT = "source, id, hops, expires_ms, bytes, is_heard"  # of a message that is removed


class Kept(NamedTuple):
    """What became of a message: whether it was there already, which mailboxes and hosts have it, who never looked."""

    is_new: bool
    mailboxes: tuple[str, ...]
    hosts: tuple[str, ...]
    unopened: tuple[str, ...]


class Unread(NamedTuple):
    """A message that has expired in a mailbox in which it was neither read nor acknowledged."""

    id: str
    sender: str
    mailbox: str


class LoopError(Failed):
    """A message came back, or went on too often."""


class MessageTables:
    """Routes and bounds of this host, applied to the tables."""

    def __init__(
        self, groups: Mapping[str, Sequence[str]], forwards: Mapping[str, str], hosts: Sequence[str], own: str,
        room: MessageRoom,
    ) -> None:  # fmt: skip
        self._groups = groups
        self._forwards = forwards
        self._hosts = frozenset(hosts)
        self._own = own
        self._room = room
        self._since_trim = 0

    # -- handing in -------------------------------------------------------------------------------------------

    def keep(self, transaction: Transaction, source: str, envelope: Envelope, now_ms: int) -> Kept:
        """Keep a message for all that it goes to. Raises Failed at a bound, InvalidArgument, LoopError."""
        known = transaction.read(
            "SELECT hops, number FROM messages WHERE source = ? AND id = ? UNION ALL "
            "SELECT hops, NULL FROM seen WHERE source = ? AND id = ? LIMIT 1",
            source, envelope.id, source, envelope.id,
        )  # fmt: skip
        if known:
            if known[0]["hops"] != envelope.hops:
                raise LoopError(f"it goes in a loop: it came after {known[0]['hops']} hops before, and again now")
            return Kept(False, *self._routes_of(transaction, known[0]["number"]))
        if envelope.kind == RECEIPT:
            self._take_receipt(transaction, envelope, now_ms)
            self._remember(transaction, source, envelope, now_ms)
            return Kept(True, (), (), ())
        boxes, forwarded, hosts = self._targets(envelope)
        if envelope.hops + 1 > HOPS and (forwarded or hosts):
            raise LoopError(f"it has gone on to another host {HOPS} times, which looks like a loop")
        size = envelope.size + ROW_BYTES
        contents = self._contents(transaction, source, envelope.attachments)
        if self._room.is_full(transaction, size):
            self._drop_heads(transaction)
        self._room.check_all(transaction, source, size)
        for box in boxes:
            self._room.check_box(transaction, box, source, size)
        for host in {host for host, _, _ in (*forwarded, *hosts)}:
            self._room.check_outgoing(transaction, host, source)
        number = transaction.execute(
            "INSERT INTO messages (source, id, kind, sender, recipient, topic, content_type, body, created_ms, "
            "expires_ms, priority, in_reply_to, hops, origin, bytes, is_done) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            source, envelope.id, envelope.kind, envelope.sender, envelope.to, envelope.topic, envelope.content_type,
            envelope.body, envelope.created_ms, envelope.expires_ms, envelope.priority, envelope.in_reply_to,
            envelope.hops, envelope.origin, size,
        ).last_id  # fmt: skip
        self._count(transaction, 1, size)
        for one, content in zip(envelope.attachments, contents, strict=True):
            transaction.execute("INSERT INTO attached VALUES (?, ?, ?)", number, content, one.name)
        for box in boxes:
            transaction.execute(
                "INSERT INTO mail (message, mailbox, source, state, kept_ms, bytes) VALUES (?, ?, ?, 'new', ?, ?)",
                number, box, source, now_ms, size,
            )  # fmt: skip
        for host, recipient, speaker in (*forwarded, *hosts):
            transaction.execute(
                "INSERT INTO outgoing (message, host, source, recipient, speaker, state, priority, begun_ms, due_ms, "
                "attempts) VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?, ?, 0)",
                number, host, source, recipient, speaker, envelope.priority, now_ms, now_ms,
            )  # fmt: skip
        return Kept(True, *self._routes_of(transaction, number))

    def keep_each(
        self, transaction: Transaction, source: str, envelopes: Sequence[Envelope], heard: Sequence[str], now_ms: int
    ) -> list[tuple[Envelope, Kept | Exception]]:
        """Keep several of a host, each by itself; forget the ids of which it has heard the answer."""
        for id in heard:
            transaction.execute("DELETE FROM seen WHERE source = ? AND id = ? AND is_sent_on = 0", source, id)
            transaction.execute("UPDATE messages SET is_heard = 1 WHERE source = ? AND id = ?", source, id)
        found: list[tuple[Envelope, Kept | Exception]] = []
        for envelope in envelopes:
            try:
                found.append((envelope, self.keep(transaction, source, envelope, now_ms)))
            except (Failed, InvalidArgument, NotFound, Conflict) as error:  # before anything of it was written
                found.append((envelope, error))
        return found

    def _targets(self, envelope: Envelope) -> tuple[list[str], list[tuple[str, str, str]], list[tuple[str, str, str]]]:
        """Return mailboxes here; what is sent on and what is sent to other hosts: host, recipient, speaker."""
        addresses = [envelope.to]
        if envelope.to.startswith("group/"):
            name = envelope.to.removeprefix("group/")
            if name not in self._groups:
                raise InvalidArgument(f"to: there is no group {name!r}: the option `groups` names them")
            addresses = [*self._groups[name]]
        boxes: list[str] = []
        forwarded: list[tuple[str, str, str]] = []
        hosts: list[tuple[str, str, str]] = []
        for address in dict.fromkeys(addresses):
            own, host = split_host(address)
            if host and host != self._own:
                hosts.append((self._known_host(host), own, envelope.sender))
            elif own in self._forwards:
                there, at = split_host(self._forwards[own])
                forwarded.append((self._known_host(at), there, own))
            else:
                boxes.append(own)
        return boxes, forwarded, hosts

    def _known_host(self, host: str) -> str:
        if host not in self._hosts:
            known = ", ".join(sorted(self._hosts)) or "none"
            raise InvalidArgument(f"to: no way leads to a host {host!r}; the option `hosts` names them, now {known}")
        return host

    def _routes_of(
        self, transaction: Transaction, number: int | None
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        if number is None:
            return (), (), ()
        rows = transaction.read(
            "SELECT mailbox, opened_ms FROM mail LEFT JOIN mailboxes ON name = mailbox WHERE message = ?", number
        )
        hosts = transaction.read("SELECT host FROM outgoing WHERE message = ?", number)
        unopened = tuple(row["mailbox"] for row in rows if row["opened_ms"] is None)
        return tuple(row["mailbox"] for row in rows), tuple(row["host"] for row in hosts), unopened

    # -- what is kept of them --------------------------------------------------------------------------------

    def _count(self, transaction: Transaction, messages: int, size: int) -> None:
        transaction.execute("UPDATE totals SET messages = messages + ?, bytes = bytes + ?", messages, size)

    def _drop_heads(self, transaction: Transaction) -> None:
        """Forget some of the oldest messages that are done."""
        for row in transaction.read("SELECT number FROM messages WHERE is_done = 1 ORDER BY number LIMIT 256"):
            self._forget(transaction, row["number"])

    # -- attachments ------------------------------------------------------------------------------------------

    def _contents(self, transaction: Transaction, owner: str, attachments: Sequence[Attached]) -> list[int]:
        found: list[int] = []
        for one in attachments:
            rows = transaction.read(
                "SELECT number FROM contents WHERE owner = ? AND name = ? AND size = ? AND sha256 = ? AND is_whole = 1",
                owner, one.name, one.size, one.sha256,
            )  # fmt: skip
            if not rows:
                raise Conflict(f"the attachment {one.name} is not here as a whole: send it first")
            found.append(rows[0]["number"])
        return found

    def attachments_of(self, transaction: Transaction, number: int) -> list[Attached]:
        """Return the attachments of a message."""
        rows = transaction.read(
            "SELECT attached.name AS name, size, sha256 FROM attached JOIN contents ON contents.number = content "
            "WHERE message = ? ORDER BY attached.name", number,
        )  # fmt: skip
        return [Attached(row["name"], row["size"], row["sha256"]) for row in rows]

    def has_room_for_receipt(self, transaction: Transaction, host: str, reader: str) -> bool:
        """Tell whether one receipt more may wait; without it the sender's host is not told."""
        try:
            self._room.check_all(transaction, reader, ROW_BYTES)
            self._room.check_outgoing(transaction, host, reader)
        except Failed:
            return False
        return True

    def put_receipt(
        self, transaction: Transaction, id: str, reader: str, to: str, host: str, read_id: str, expires_ms: int,
        now_ms: int,
    ) -> None:  # fmt: skip
        """Have the host of a sender told that its message was read."""
        number = transaction.execute(
            "INSERT INTO messages (source, id, kind, sender, recipient, topic, content_type, body, created_ms, "
            "expires_ms, priority, in_reply_to, hops, origin, bytes, is_done) "
            "VALUES (?, ?, ?, ?, ?, '', 'text/plain', '', ?, ?, 0, ?, 0, '', ?, 0)",
            reader, id, RECEIPT, reader, to, now_ms, expires_ms, read_id, ROW_BYTES,
        ).last_id  # fmt: skip
        self._count(transaction, 1, ROW_BYTES)
        transaction.execute(
            "INSERT INTO outgoing (message, host, source, recipient, speaker, state, priority, begun_ms, due_ms, "
            "attempts) VALUES (?, ?, ?, ?, ?, 'waiting', 0, ?, ?, 0)", number, host, reader, to, reader, now_ms, now_ms,
        )  # fmt: skip

    def _take_receipt(self, transaction: Transaction, envelope: Envelope, now_ms: int) -> None:
        """Note that a message to another host was read; only who it went to can say that."""
        reader, host = split_host(envelope.sender)
        transaction.execute(
            "UPDATE outgoing SET state = 'read', done_ms = ? WHERE host = ? AND recipient = ? AND state = 'delivered' "
            "AND message IN (SELECT number FROM messages WHERE id = ?)",
            now_ms, host, reader, envelope.in_reply_to,
        )  # fmt: skip

    # -- ends -------------------------------------------------------------------------------------------------

    def finish_if_done(self, transaction: Transaction, number: int, now_ms: int) -> None:
        """Keep only the head of a message that is done everywhere, and few of these of one sender."""
        open_rows = transaction.read(
            "SELECT 1 FROM mail WHERE message = ? AND state != 'done' UNION ALL "
            "SELECT 1 FROM outgoing WHERE message = ? AND state IN ('waiting', 'dead') LIMIT 1", number, number,
        )  # fmt: skip
        if open_rows:
            return
        [row] = transaction.read("SELECT number, kind, source, is_done, bytes FROM messages WHERE number = ?", number)
        if row["is_done"]:
            return
        self._empty(transaction, row)
        if row["kind"] == RECEIPT or row["source"].startswith("@"):
            self._forget(transaction, number, now_ms)
            return
        self._keep_few_heads(transaction, row["source"], now_ms)

    def _keep_few_heads(self, transaction: Transaction, source: str, now_ms: int) -> None:
        heads = transaction.read(
            "SELECT number FROM messages WHERE source = ? AND is_done = 1 ORDER BY number DESC LIMIT 8 OFFSET ?",
            source, HEADS,
        )  # fmt: skip
        for head in heads:
            self._forget(transaction, head["number"], now_ms)

    def _empty(self, transaction: Transaction, row: Any) -> None:
        transaction.execute(
            "UPDATE messages SET body = '', is_done = 1, bytes = ? WHERE number = ?", ROW_BYTES, row["number"]
        )
        self._count(transaction, 0, ROW_BYTES - row["bytes"])
        self._detach(transaction, row["number"])

    def _detach(self, transaction: Transaction, number: int) -> None:
        contents = [
            row["content"]
            for row in transaction.read("DELETE FROM attached WHERE message = ? RETURNING content", number)
        ]
        for content in contents:
            if not transaction.read("SELECT 1 FROM attached WHERE content = ?", content):
                self.drop_content(transaction, content)

    def drop_content(self, transaction: Transaction, content: int) -> None:
        """Remove a file that no message has."""
        rows = transaction.execute("DELETE FROM contents WHERE number = ? RETURNING size", content).rows
        self._count(transaction, 0, -sum(row["size"] for row in rows))

    def _forget(self, transaction: Transaction, number: int, now_ms: int | None = None) -> None:
        """Remove a message; its id stays known for as long as it may come again."""
        self._detach(transaction, number)
        is_sent_on = bool(transaction.read("SELECT 1 FROM outgoing WHERE message = ? LIMIT 1", number))
        removed = transaction.execute(f"DELETE FROM messages WHERE number = ? RETURNING {_LEFT}", number)  # noqa: S608 # names
        for row in removed.rows:
            self._count(transaction, -1, -row["bytes"])
            is_of_host = row["source"].startswith("@")
            if now_ms is None or (row["is_heard"] and not is_sent_on):
                continue
            until = row["expires_ms"] if is_of_host else min(row["expires_ms"], now_ms + REPEAT_MS)
            # One that was sent on may come back in a loop, so its id is known also when the host has heard of it.
            self._see(transaction, row["source"], row["id"], row["hops"], until, is_sent_on=is_of_host and is_sent_on)

    def _remember(self, transaction: Transaction, source: str, envelope: Envelope, now_ms: int) -> None:
        self._see(transaction, source, envelope.id, envelope.hops, envelope.expires_ms, is_sent_on=False)

    def _see(
        self, transaction: Transaction, source: str, id: str, hops: int, until_ms: int, *, is_sent_on: bool
    ) -> None:
        transaction.execute(
            "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", source, id, hops, until_ms, int(is_sent_on)
        )
        self._since_trim += 1
        if self._since_trim >= _TRIM:
            self._trim(transaction)

    def _trim(self, transaction: Transaction) -> None:
        """Forget the oldest ids of a source that has too many."""
        self._since_trim = 0
        for [source] in transaction.read("SELECT source FROM seen GROUP BY source HAVING count(*) > ?", SEEN_MOST):
            transaction.execute(
                "DELETE FROM seen WHERE source = ? AND id IN (SELECT id FROM seen WHERE source = ? "
                "ORDER BY until_ms DESC LIMIT -1 OFFSET ?)", source, source, SEEN_MOST,
            )  # fmt: skip

    def pass_time(self, transaction: Transaction, now_ms: int) -> tuple[int, list[Unread]]:
        """Let messages expire and forget what is over; return how many expired, and what of that was not read.

        At most some at a time.
        """
        expired = 0
        unread: list[Unread] = []
        rows = transaction.read(
            "SELECT number, kind, source, is_done, bytes FROM messages WHERE expires_ms <= ? "
            "ORDER BY expires_ms LIMIT 256", now_ms,
        )  # fmt: skip
        for row in rows:
            expired += not row["is_done"]
            missed = self._leave_mailboxes(transaction, row["number"]) if _has_head(row) else []
            unread += missed
            transaction.execute(
                "UPDATE outgoing SET state = 'dead', done_ms = ?, error = 'it expired: ' || "
                "coalesce(error, 'the host was not reached in time') WHERE message = ? AND state = 'waiting'",
                now_ms, row["number"],
            )  # fmt: skip
            dead = transaction.read(
                "SELECT 1 FROM outgoing WHERE message = ? AND state = 'dead' LIMIT 1", row["number"]
            )
            if _has_head(row) and (dead or (missed and not row["source"].startswith("@"))):
                self._empty(transaction, row)
                transaction.execute(
                    "UPDATE messages SET expires_ms = ? WHERE number = ?", now_ms + DEAD_MS, row["number"]
                )
                if not dead:
                    self._keep_few_heads(transaction, row["source"], now_ms)
            else:
                self._forget(transaction, row["number"])
        transaction.execute("DELETE FROM seen WHERE until_ms <= ?", now_ms)
        self._trim(transaction)
        return expired, unread

    def _leave_mailboxes(self, transaction: Transaction, number: int) -> list[Unread]:
        """Take what expires out of the mailboxes it is in; return in which of them it was not read."""
        gone = transaction.execute(
            "UPDATE mail SET state = 'done' WHERE message = ? AND state != 'done' RETURNING mailbox, read_ms", number
        ).rows
        [head] = transaction.read("SELECT id, sender FROM messages WHERE number = ?", number)
        return [Unread(head["id"], head["sender"], one["mailbox"]) for one in gone if one["read_ms"] is None]

    def next_change(self, transaction: Transaction) -> int | None:
        """Return the time at which something expires next."""
        [row] = transaction.read(
            "SELECT min(at) AS at FROM (SELECT min(expires_ms) AS at FROM messages UNION ALL "
            "SELECT min(until_ms) FROM seen)"
        )
        due: int | None = row["at"]
        return due


def _has_head(row: Any) -> bool:
    """Tell whether a message that expires is still whole, and no receipt."""
    return not row["is_done"] and row["kind"] == MESSAGE
