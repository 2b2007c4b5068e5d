"""Mailboxes in the database, and receipts: what a caller has got, and what became of what it has sent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tlsrt import InvalidArgument, NotFound, Transaction
from tlsrt.loops.external.message import ID, MESSAGE, split_host
from tlsrt.loops.external.message_tables import FIELDS, HEADS_FIELDS, MessageTables

_ANSWER_BYTES = 192 * 1024  # of a list; a frame holds 256 KiB


def fitting(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return as many as fit into one answer, at least one: names of files are long, and others choose them."""
    size = 0
    for number, one in enumerate(messages):
        size += len(str(one).encode())
        if number and size > _ANSWER_BYTES:
            return messages[:number]
    return messages


class MailboxTables:
    """Each function is one transaction, and sees one mailbox: that of the caller whose address it gets."""

    def __init__(self, messages: MessageTables, hosts: Collection[str]) -> None:
        self._messages = messages
        self._hosts = frozenset(hosts)

    def open(self, transaction: Transaction, mailbox: str, now_ms: int) -> None:
        """Note that the owner of a mailbox has looked into it."""
        transaction.execute(
            "INSERT INTO mailboxes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET opened_ms = excluded.opened_ms",
            mailbox, now_ms,
        )  # fmt: skip

    def is_opened(self, transaction: Transaction, mailbox: str) -> bool:
        """Tell whether its owner has looked into it before."""
        return bool(transaction.read("SELECT 1 FROM mailboxes WHERE name = ? AND opened_ms IS NOT NULL", mailbox))

    def inbox(
        self, transaction: Transaction, mailbox: str, limit: int, after: int | None, topic: str | None,
        sender: str | None, now_ms: int, *, is_new: bool = False, by_arrival: bool = False,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return what is in a mailbox, without bodies: the important and newest first, or behind a position."""
        order = "position" if by_arrival or after is not None else "priority DESC, position DESC"
        fields = FIELDS if by_arrival else HEADS_FIELDS
        rows = transaction.read(
            f"SELECT {fields}, position, state, read_ms, mail.kept_ms AS kept_ms FROM mail "  # noqa: S608 # names
            "JOIN messages ON messages.number = message WHERE mailbox = ? AND state != 'done' AND position > ? "
            "AND expires_ms > ? AND (? IS NULL OR topic = ? OR (topic >= ? AND topic < ?)) "
            f"AND (? IS NULL OR sender = ?) AND (? = 0 OR state = 'new') ORDER BY {order} LIMIT ?",
            mailbox, after or 0, now_ms, topic, topic, f"{topic}.", f"{topic}/", sender, sender, int(is_new), limit,
        )  # fmt: skip
        return [self._shown(transaction, row, with_body=by_arrival) for row in rows]

    def read(self, transaction: Transaction, mailbox: str, id: str, now_ms: int) -> tuple[dict[str, Any], list[str]]:
        """Return a message with its body, and note that it was read; and the hosts that are told so."""
        row = self._one(transaction, mailbox, id)
        hosts: list[str] = []
        if row["state"] == "new":
            transaction.execute(
                "UPDATE mail SET state = 'read', read_ms = ? WHERE position = ?", now_ms, row["position"]
            )
            hosts = self._tell_read(transaction, row, mailbox, now_ms)
        return self._shown(transaction, self._one(transaction, mailbox, id), with_body=True), hosts

    def acknowledge(
        self, transaction: Transaction, mailbox: str, ids: Sequence[str], positions: Sequence[int], now_ms: int
    ) -> tuple[int, list[str]]:
        """Take messages out of a mailbox; return how many that were, and the hosts that are told so."""
        hosts: list[str] = []
        done = 0
        named: list[str | int] = [*ids, *positions]
        for which in named:
            try:
                row = self._one(transaction, mailbox, which)
            except NotFound:
                continue  # done before
            if row["state"] == "new":
                hosts += self._tell_read(transaction, row, mailbox, now_ms)
            transaction.execute(
                "UPDATE mail SET state = 'done', done_ms = ?, read_ms = coalesce(read_ms, ?) WHERE position = ?",
                now_ms, now_ms, row["position"],
            )  # fmt: skip
            self._messages.finish_if_done(transaction, row["number"], now_ms)
            done += 1
        return done, hosts

    def _one(self, transaction: Transaction, mailbox: str, id: str | int) -> Any:
        """Return the row of a message in a mailbox, by the first digits of its id or its position."""
        which, values = ("id >= ? AND id < ?", (id, id + "g")) if isinstance(id, str) else ("position = ?", (id,))
        rows = transaction.read(
            f"SELECT {FIELDS}, position, state, read_ms, mail.kept_ms AS kept_ms, messages.source AS source "  # noqa: S608
            f"FROM mail JOIN messages ON messages.number = message WHERE mailbox = ? AND state != 'done' AND {which} "
            "ORDER BY position LIMIT 2", mailbox, *values,
        )  # fmt: skip
        if not rows:
            raise NotFound(f"there is no message {id} in your mailbox: it was acknowledged, expired, or never there")
        if len(rows) > 1 and not ID.fullmatch(str(id)):  # of two senders that chose one id: the one that came first
            raise InvalidArgument(f"id: two messages begin with {id}: give more of it")
        return rows[0]

    def content_of(self, transaction: Transaction, mailbox: str, id: str, name: str) -> Any:
        """Return the row of an attachment of a message in a mailbox. Raises NotFound."""
        row = self._one(transaction, mailbox, id)
        rows = transaction.read(
            "SELECT contents.number AS number, size, sha256 FROM attached JOIN contents ON contents.number = content "
            "WHERE message = ? AND attached.name = ?", row["number"], name,
        )  # fmt: skip
        if not rows:
            raise NotFound(f"message {id} has no attachment {name!r}")
        return rows[0]

    def _shown(self, transaction: Transaction, row: Any, *, with_body: bool) -> dict[str, Any]:
        attachments = [one._asdict() for one in self._messages.attachments_of(transaction, row["number"])]
        body = row["body"]
        return {
            "id": row["id"], "from": row["sender"], "to": row["recipient"], "topic": row["topic"],
            "content_type": row["content_type"], **({"body": body} if with_body else {"preview": body}),
            "created_ms": row["created_ms"], "expires_ms": row["expires_ms"], "priority": row["priority"],
            "in_reply_to": row["in_reply_to"] or None, "attachments": attachments, "origin": row["origin"] or None,
            "position": row["position"], "state": row["state"], "kept_ms": row["kept_ms"], "read_ms": row["read_ms"],
        }  # fmt: skip

    # -- receipts ---------------------------------------------------------------------------------------------

    def _tell_read(self, transaction: Transaction, row: Any, mailbox: str, now_ms: int) -> list[str]:
        """Have the sender's host told that a message was read, if there is a way to it."""
        own, host = split_host(row["sender"])
        if host not in self._hosts or row["expires_ms"] <= now_ms:
            return []
        if not self._messages.has_room_for_receipt(transaction, host, mailbox):
            return []
        [made] = transaction.read("SELECT lower(hex(randomblob(16))) AS id")
        self._messages.put_receipt(transaction, made["id"], mailbox, own, host, row["id"], row["expires_ms"], now_ms)
        return [host]

    def sent(self, transaction: Transaction, sender: str, limit: int, before: int | None) -> list[dict[str, Any]]:
        """Return what a caller has sent, the newest first, with what became of it at each recipient."""
        rows = transaction.read(
            f"SELECT {HEADS_FIELDS} FROM messages WHERE source = ? AND kind = ? AND (? IS NULL OR number < ?) "  # noqa: S608
            "ORDER BY number DESC LIMIT ?", sender, MESSAGE, before, before, limit,
        )  # fmt: skip
        found = []
        for row in rows:
            there = transaction.read(
                "SELECT mailbox AS recipient, CASE WHEN state = 'new' THEN 'delivered' WHEN state != 'done' THEN state "
                "WHEN done_ms IS NOT NULL THEN 'acknowledged' WHEN read_ms IS NULL THEN 'expired' ELSE 'read' END "
                "AS state, kept_ms AS delivered_ms, read_ms, NULL AS error FROM mail WHERE message = ? "
                "UNION ALL SELECT recipient || '@' || host, state, CASE WHEN state IN ('delivered', 'read') THEN "
                "done_ms END, CASE WHEN state = 'read' THEN done_ms END, error FROM outgoing WHERE message = ?",
                row["number"], row["number"],
            )  # fmt: skip
            found.append({
                "id": row["id"], "to": row["recipient"], "topic": row["topic"], "created_ms": row["created_ms"],
                "expires_ms": row["expires_ms"], "number": row["number"], "recipients": [dict(one) for one in there],
            })  # fmt: skip
        return found
