"""Messages for other hosts in the database: what goes next, what became of it, and what a person sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tlsrt import Conflict, NotFound, Transaction
from tlsrt.loops.external.message import Envelope
from tlsrt.loops.external.message_tables import FIELDS, MessageTables

BATCH = 32  # messages that go together
LATER_MOST_MS = 3_600_000  # no pause is longer: what is due later was written before the clock was set back
BATCH_BYTES = 160 * 1024  # of their bodies; a frame holds 256 KiB


class Leaving(NamedTuple):
    """A message that goes to another host next."""

    position: int
    envelope: Envelope
    attempts: int


class Outcome(NamedTuple):
    """What a host has said of one: `delivered`, `dead`, or `waiting` until `due_ms`."""

    position: int
    state: str
    error: str | None
    due_ms: int


class OutgoingTables:
    """Each function is one transaction."""

    def __init__(self, messages: MessageTables, own: str) -> None:
        self._messages = messages
        self._own = own

    def batch(self, transaction: Transaction, host: str, now_ms: int) -> list[Leaving]:
        """Return what goes to a host next: the important first, in the order in which it came."""
        rows = transaction.read(
            f"SELECT {FIELDS}, position, outgoing.recipient AS there, speaker, attempts FROM outgoing "  # noqa: S608 # names
            "JOIN messages ON messages.number = message WHERE host = ? AND state = 'waiting' AND (due_ms <= ? "
            "OR due_ms > ?) AND expires_ms > ? ORDER BY outgoing.priority DESC, position LIMIT ?",
            host, now_ms, now_ms + LATER_MOST_MS, now_ms, BATCH,
        )  # fmt: skip
        found: list[Leaving] = []
        size = 0
        for row in rows:
            size += row["bytes"]
            if found and size > BATCH_BYTES:
                break
            written = row["sender"]
            found.append(Leaving(row["position"], Envelope(
                row["id"], row["kind"], f"{row['speaker']}@{self._own}", row["there"], row["topic"],
                row["content_type"], row["body"], row["created_ms"], row["expires_ms"], row["priority"],
                row["in_reply_to"], tuple(self._messages.attachments_of(transaction, row["number"])), row["hops"] + 1,
                row["origin"] or (written if written != row["speaker"] else ""),
            ), row["attempts"]))  # fmt: skip
        return found

    def next_due(self, transaction: Transaction, host: str, now_ms: int) -> int | None:
        """Return when something is to be tried next, None if nothing waits."""
        [row] = transaction.read(
            "SELECT min(due_ms) AS at FROM outgoing JOIN messages ON messages.number = message WHERE host = ? "
            "AND state = 'waiting' AND expires_ms > ?", host, now_ms,
        )  # fmt: skip
        due: int | None = row["at"]
        return due

    def settle(self, transaction: Transaction, outcomes: Sequence[Outcome], now_ms: int) -> None:
        """Write what became of some."""
        for one in outcomes:
            rows = transaction.execute(
                "UPDATE outgoing SET state = ?, error = ?, due_ms = ?, attempts = attempts + 1, done_ms = ? "
                "WHERE position = ? AND state = 'waiting' RETURNING message",
                one.state, one.error, one.due_ms, None if one.state == "waiting" else now_ms, one.position,
            ).rows  # fmt: skip
            for row in rows:
                if one.state == "delivered":
                    self._messages.finish_if_done(transaction, row["message"], now_ms)

    def away(self, transaction: Transaction, host: str, error: str) -> None:
        """Note why a host was not reached."""
        transaction.execute(
            "UPDATE outgoing SET error = ? WHERE position IN (SELECT position FROM outgoing WHERE host = ? "
            "AND state = 'waiting' ORDER BY priority DESC, position LIMIT ?)", error, host, BATCH,
        )  # fmt: skip

    def outbox(
        self, transaction: Transaction, source: str | None, limit: int, after: int | None
    ) -> list[dict[str, Any]]:
        """Return what waits for other hosts, or was given up, of one caller or of all; without bodies."""
        rows = transaction.read(
            "SELECT position, id, kind, sender, recipient_there, host, state, attempts, due_ms, begun_ms, error, "
            "expires_ms, topic FROM (SELECT outgoing.*, outgoing.recipient AS recipient_there, messages.id AS id, "
            "kind, sender, expires_ms, topic FROM outgoing JOIN messages ON messages.number = message) "
            "WHERE state IN ('waiting', 'dead') AND (? IS NULL OR source = ?) AND position > ? "
            "ORDER BY position LIMIT ?", source, source, after or 0, limit,
        )  # fmt: skip
        return [
            {
                "position": row["position"], "id": row["id"], "kind": row["kind"], "from": row["sender"],
                "to": f"{row['recipient_there']}@{row['host']}", "topic": row["topic"], "state": row["state"],
                "attempts": row["attempts"], "begun_ms": row["begun_ms"], "expires_ms": row["expires_ms"],
                "due_ms": row["due_ms"] if row["state"] == "waiting" else None, "error": row["error"],
            }
            for row in rows
        ]  # fmt: skip

    def retry(self, transaction: Transaction, source: str | None, id: str, now_ms: int) -> list[str]:
        """Have what was given up tried again, and what waits at once; return the hosts."""
        self._own_ones(transaction, source, id)
        rows = transaction.execute(
            "UPDATE outgoing SET state = 'waiting', due_ms = ?, done_ms = NULL WHERE state IN ('waiting', 'dead') "
            "AND message IN (SELECT number FROM messages WHERE id = ? AND is_done = 0 AND expires_ms > ?) "
            "AND (? IS NULL OR source = ?) RETURNING host", now_ms, id, now_ms, source, source,
        ).rows  # fmt: skip
        if not rows:
            raise Conflict(f"message {id} has expired, and nothing of it is left: send it again")
        return [row["host"] for row in rows]

    def drop(self, transaction: Transaction, source: str | None, id: str, now_ms: int) -> int:
        """Send a message no more; return to how many hosts it had not gone."""
        messages = self._own_ones(transaction, source, id)
        count = 0
        for number in messages:
            count += transaction.execute(
                "DELETE FROM outgoing WHERE message = ? AND state IN ('waiting', 'dead')", number
            ).count
            self._messages.finish_if_done(transaction, number, now_ms)
        return count

    def _own_ones(self, transaction: Transaction, source: str | None, id: str) -> list[int]:
        rows = transaction.read(
            "SELECT DISTINCT number FROM messages JOIN outgoing ON message = number WHERE id = ? "
            "AND outgoing.state IN ('waiting', 'dead') AND (? IS NULL OR messages.source = ?)", id, source, source,
        )  # fmt: skip
        if not rows:
            raise NotFound(f"no message {id} of yours waits for another host, or was given up: see `tlsrt outbox`")
        return [row["number"] for row in rows]
