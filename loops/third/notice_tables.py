"""Notifications, their deliveries and escalations in the database. Each function is one transaction, and all of it.

A delivery waits in the table until its carrier has said that it took it: at least once for each carrier, whatever
ends meanwhile. How much there may be is bounded, for all and for each sender, before anything is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tlsrt import Denied, Failed, NotFound, Transaction
from tlsrt.loops.third.notice import SEVERITIES, Draft, Message, Severity, level
from tlsrt.loops.third.notice_rules import Escalation, Quiet, Route, carriers_of, due_at, matches

STEPS = (
    """
    CREATE TABLE notices (
        id INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL,
        severity INTEGER NOT NULL, topic TEXT NOT NULL, tags TEXT NOT NULL, key TEXT NOT NULL,
        sent_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, count INTEGER NOT NULL, expires_ms INTEGER,
        sum_until_ms INTEGER, state TEXT NOT NULL, by TEXT, at_ms INTEGER, comment TEXT
    ) STRICT;
    CREATE INDEX notices_of_sender ON notices (sender, key);
    CREATE INDEX notices_that_expire ON notices (expires_ms) WHERE state = 'open' AND expires_ms IS NOT NULL;
    CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY AUTOINCREMENT, notice INTEGER NOT NULL REFERENCES notices ON DELETE CASCADE,
        carrier TEXT NOT NULL, reminder INTEGER NOT NULL, state TEXT NOT NULL, begun_ms INTEGER NOT NULL,
        due_ms INTEGER NOT NULL, attempts INTEGER NOT NULL, done_ms INTEGER, error TEXT
    ) STRICT;
    CREATE INDEX deliveries_of_notice ON deliveries (notice);
    CREATE INDEX deliveries_that_wait ON deliveries (carrier, due_ms) WHERE state = 'waiting';
    CREATE TABLE escalations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, notice INTEGER NOT NULL REFERENCES notices ON DELETE CASCADE,
        carriers TEXT NOT NULL, due_ms INTEGER NOT NULL, every_ms INTEGER NOT NULL, left INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX escalations_due ON escalations (due_ms);
    CREATE INDEX escalations_of_notice ON escalations (notice);
    CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    INSERT INTO kept VALUES ('life', lower(hex(randomblob(8))));
    """,
)
BATCH = 64  # notices that one pass of escalation looks at
_SHOWN = """id, sender, title, body, severity, topic, tags, key, sent_ms, last_ms, count, expires_ms, state, by, at_ms,
    comment"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many notices may be there, and deliveries wait; a sender has half of the first, a quarter of these."""

    keep: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a notification that was sent."""

    id: int
    is_repeated: bool
    is_summed: bool
    carriers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that is the next of its carrier."""

    row: int
    due_ms: int
    begun_ms: int
    attempts: int
    message: Message


class NoticeTables:
    """The rules and bounds of this host, applied to the tables."""

    def __init__(
        self, routes: Sequence[Route], escalations: Sequence[Escalation], quiet: Quiet | None, bounds: Bounds
    ) -> None:
        self._routes = routes
        self._escalations = escalations
        self._quiet = quiet
        self._bounds = bounds

    # -- sending ----------------------------------------------------------------------------------------------

    def known(self, transaction: Transaction, sender: str, key: str) -> int | None:
        """Return the open notification of a sender with a key."""
        rows = transaction.read("SELECT id FROM notices WHERE sender = ? AND key = ? AND state = 'open'", sender, key)
        return rows[0][0] if rows else None

    def send(self, transaction: Transaction, draft: Draft, now_ms: int) -> Kept:
        """Keep a notification with what has to be delivered of it, or count it up. Raises Failed at a bound."""
        if draft.key and (known := self.known(transaction, draft.sender, draft.key)) is not None:
            return self._repeat(transaction, known, draft, now_ms)
        carriers = carriers_of(self._routes, draft.severity, draft.topic, draft.sender)
        number = self._insert(transaction, draft, carriers, now_ms, None)
        self._deliver(transaction, number, carriers, draft.severity, 0, now_ms)
        self._plan(transaction, number, draft, None, now_ms)
        return Kept(number, False, False, carriers)

    def _plan(self, transaction: Transaction, number: int, draft: Draft, before: Severity | None, now_ms: int) -> None:
        """Keep the escalations of a notification, but for those that were kept when it was less severe."""
        for rule in self._escalations:
            is_kept = before is not None and matches(rule, before, draft.topic, draft.sender)
            if not is_kept and matches(rule, draft.severity, draft.topic, draft.sender):
                transaction.execute(
                    "INSERT INTO escalations (notice, carriers, due_ms, every_ms, left) VALUES (?, ?, ?, ?, ?)",
                    number, json.dumps(rule.to), now_ms + int(rule.after_s * 1000), int(rule.every_s * 1000),
                    rule.times,
                )  # fmt: skip

    def _repeat(self, transaction: Transaction, number: int, draft: Draft, now_ms: int) -> Kept:
        (before,) = transaction.read("SELECT severity FROM notices WHERE id = ?", number)
        now = max(before[0], level(draft.severity))
        transaction.execute(
            "UPDATE notices SET count = count + 1, title = ?, body = ?, tags = ?, last_ms = ?, expires_ms = ?, "
            "severity = ? WHERE id = ?",
            draft.title, draft.body, json.dumps(draft.tags), now_ms, draft.expires_ms, now, number,
        )  # fmt: skip
        if now == before[0]:
            return Kept(number, True, False, ())
        carriers = carriers_of(self._routes, draft.severity, draft.topic, draft.sender)
        self._check_room(transaction, draft.sender, len(carriers))
        self._deliver(transaction, number, carriers, draft.severity, 0, now_ms)
        self._plan(transaction, number, draft, SEVERITIES[before[0]], now_ms)
        return Kept(number, True, False, carriers)

    def sum_up(self, transaction: Transaction, draft: Draft, now_ms: int, window_ms: int) -> Kept:
        """Count a notification that is one too many: people get one for all of a window, at its end."""
        rows = transaction.read(
            "SELECT id, count, severity FROM notices WHERE sender = ? AND key = '' AND state = 'open' "
            "AND sum_until_ms > ? ORDER BY id DESC LIMIT 1", draft.sender, now_ms,
        )  # fmt: skip
        count = rows[0][1] + 1 if rows else 1
        words = f"{count} more from {draft.sender}", f"They came too fast to be told each. The last one: {draft.title}"
        if rows:
            severity = max(rows[0][2], level(draft.severity))
            transaction.execute(
                "UPDATE notices SET count = ?, title = ?, body = ?, last_ms = ?, severity = ? WHERE id = ?",
                count, *words, now_ms, severity, rows[0][0],
            )  # fmt: skip
            return Kept(rows[0][0], True, True, ())
        summed = Draft(draft.sender, *words, draft.severity, "notify.sum", (), "", None)
        carriers = carriers_of(self._routes, draft.severity, draft.topic, draft.sender)
        until = now_ms + window_ms
        number = self._insert(transaction, summed, carriers, now_ms, until)
        self._deliver(transaction, number, carriers, draft.severity, 0, until)
        return Kept(number, False, True, carriers)

    def _insert(
        self, transaction: Transaction, draft: Draft, carriers: Sequence[str], now_ms: int, until_ms: int | None
    ) -> int:
        self._make_room(transaction, draft.sender)
        self._check_room(transaction, draft.sender, len(carriers))
        return transaction.execute(
            "INSERT INTO notices (sender, title, body, severity, topic, tags, key, sent_ms, last_ms, count, "
            "expires_ms, sum_until_ms, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, 'open')",
            draft.sender, draft.title, draft.body, level(draft.severity), draft.topic, json.dumps(draft.tags),
            draft.key, now_ms, now_ms, draft.expires_ms, until_ms,
        ).last_id  # fmt: skip

    def _deliver(
        self, transaction: Transaction, number: int, carriers: Iterable[str], severity: str, reminder: int, now_ms: int
    ) -> None:
        for carrier in carriers:
            transaction.execute(
                "INSERT INTO deliveries (notice, carrier, reminder, state, begun_ms, due_ms, attempts) "
                "VALUES (?, ?, ?, 'waiting', ?, ?, 0)",
                number, carrier, reminder, now_ms, due_at(self._quiet, carrier, severity, now_ms),
            )  # fmt: skip

    def _check_room(self, transaction: Transaction, sender: str, more: int) -> None:
        most, waiting = self._bounds.waiting, _waiting(transaction)
        if waiting + more > most:
            raise Failed(
                f"{waiting} deliveries wait and {most} may: see `outbox` for the carrier that is away, or raise "
                "`waiting`"
            )
        rows = transaction.read(
            "SELECT count(*) FROM deliveries JOIN notices ON notices.id = notice WHERE deliveries.state = 'waiting' "
            "AND sender = ?", sender,
        )  # fmt: skip
        if rows[0][0] + more > most // 4:
            raise Failed(f"{rows[0][0]} deliveries of {sender} wait, and it may have {most // 4}: try again later")

    def _make_room(self, transaction: Transaction, sender: str) -> None:
        """Forget old ones, of which nothing waits: the sender's own if it has half of all, else closed ones first."""
        (total, own), *_ = transaction.read("SELECT count(*), coalesce(sum(sender = ?), 0) FROM notices", sender)
        is_greedy = own >= max(1, self._bounds.keep // 2)
        more = total - self._bounds.keep + 1
        if is_greedy:
            more = max(more, own - max(1, self._bounds.keep // 2) + 1)
        if more <= 0:
            return
        gone = transaction.execute(
            "DELETE FROM notices WHERE id IN (SELECT id FROM notices WHERE (? = '' OR sender = ?) AND NOT EXISTS "
            "(SELECT 1 FROM deliveries WHERE notice = notices.id AND deliveries.state = 'waiting') "
            "ORDER BY state = 'open', id LIMIT ?)", sender if is_greedy else "", sender, more,
        ).count  # fmt: skip
        if gone < more:
            raise Failed(f"{total} notifications are kept and all wait for a carrier: see `outbox`, or raise `keep`")

    # -- deliveries -------------------------------------------------------------------------------------------

    def next_of(self, transaction: Transaction, carrier: str) -> Waiting | None:
        """Return the delivery of a carrier that is due first, now or later."""
        rows = transaction.read(
            "SELECT deliveries.id AS row, due_ms, begun_ms, attempts, reminder, notices.*, "
            "(SELECT value FROM kept WHERE name = 'life') AS life FROM deliveries JOIN notices ON notices.id = notice "
            "WHERE carrier = ? AND deliveries.state = 'waiting' ORDER BY due_ms, deliveries.id LIMIT 1", carrier,
        )  # fmt: skip
        if not rows:
            return None
        row = rows[0]
        message = Message(
            f"{row['life']}-{row['row']}", row["id"], row["title"], row["body"], SEVERITIES[row["severity"]],
            row["topic"], tuple(json.loads(row["tags"])), row["sender"], row["sent_ms"], row["count"], row["reminder"],
        )  # fmt: skip
        return Waiting(row["row"], row["due_ms"], row["begun_ms"], row["attempts"], message)

    def settle(self, transaction: Transaction, row: int, state: str, error: str | None, now_ms: int) -> None:
        """Say that a delivery is `delivered` or `given_up`."""
        transaction.execute(
            "UPDATE deliveries SET state = ?, error = ?, done_ms = ?, attempts = attempts + 1 WHERE id = ? "
            "AND state = 'waiting'", state, error, now_ms, row,
        )  # fmt: skip

    def put_off(self, transaction: Transaction, row: int, error: str, due_ms: int) -> None:
        """Have a delivery tried again at a time."""
        transaction.execute(
            "UPDATE deliveries SET due_ms = ?, attempts = attempts + 1, error = ? WHERE id = ?", due_ms, error, row
        )

    # -- people -----------------------------------------------------------------------------------------------

    def close(
        self, transaction: Transaction, number: int, state: str, by: str, comment: str, now_ms: int, owner: str | None
    ) -> tuple[dict[str, Any], bool]:
        """Acknowledge or withdraw; return it, and whether that changed it. With `owner` only one that it has sent."""
        found = self.one(transaction, number)
        if owner is not None and found["sender"] != owner:
            raise Denied(f"notification {number} is not yours: its sender withdraws it, or who may read all")
        if found["state"] != "open":
            return found, False
        transaction.execute(
            "UPDATE notices SET state = ?, by = ?, at_ms = ?, comment = ? WHERE id = ?", state, by, now_ms,
            comment or None, number,
        )  # fmt: skip
        transaction.execute("DELETE FROM escalations WHERE notice = ?", number)
        # An acknowledgement ends reminders that wait; the first delivery goes on, unless it was withdrawn.
        transaction.execute(
            "UPDATE deliveries SET state = 'dropped', done_ms = ? WHERE notice = ? AND state = 'waiting' "
            "AND reminder >= ?", now_ms, number, 1 if state == "acknowledged" else 0,
        )  # fmt: skip
        return self.one(transaction, number), True

    def one(self, transaction: Transaction, number: int, reader: str | None = None) -> dict[str, Any]:
        """Return one notification; with `reader` only if that has sent it. Raises NotFound."""
        rows = transaction.read(f"SELECT {_SHOWN} FROM notices WHERE id = ?", number)  # noqa: S608  # names of columns
        if not rows or (reader is not None and rows[0]["sender"] != reader):
            raise NotFound(f"there is no notification {number}: it was removed, or never there")
        return _shown(rows[0])

    def deliveries(self, transaction: Transaction, number: int) -> list[dict[str, Any]]:
        """Return what became of one at each carrier."""
        rows = transaction.read(
            "SELECT carrier, reminder, state, due_ms, attempts, done_ms, error FROM deliveries WHERE notice = ? "
            "ORDER BY id LIMIT 256", number,
        )  # fmt: skip
        return [dict(row) for row in rows]

    def page(
        self, transaction: Transaction, limit: int, before: int | None, severity: str, state: str | None,
        topic: str | None, sender: str | None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Return notifications, the newest first."""
        rows = transaction.read(
            f"SELECT {_SHOWN} FROM notices WHERE (:before IS NULL OR id < :before) "  # noqa: S608  # names of columns
            "AND severity >= :severity AND (:state IS NULL OR state = :state) AND (:topic IS NULL OR topic = :topic "
            "OR substr(topic, 1, length(:topic) + 1) = :topic || '.') AND (:sender IS NULL OR sender = :sender) "
            "ORDER BY id DESC LIMIT :limit",
            before=before, severity=level(severity), state=state, topic=topic, sender=sender, limit=limit,
        )  # fmt: skip
        return [_shown(row) for row in rows]

    def outbox(self, transaction: Transaction) -> dict[str, dict[str, Any]]:
        """Return for each carrier what waits, since when, and what went wrong last."""
        rows = transaction.read(
            "SELECT carrier, count(*) AS waiting, min(begun_ms) AS since_ms, min(due_ms) AS next_ms, "
            "(SELECT error FROM deliveries AS last WHERE last.carrier = deliveries.carrier AND last.state = 'waiting' "
            "ORDER BY attempts DESC LIMIT 1) AS error FROM deliveries WHERE state = 'waiting' GROUP BY carrier"
        )
        return {row["carrier"]: {key: row[key] for key in ("waiting", "since_ms", "next_ms", "error")} for row in rows}

    # -- time -------------------------------------------------------------------------------------------------

    def next_change(self, transaction: Transaction) -> int | None:
        """Return when the next notification expires or is escalated; None if none will be."""
        (row,) = transaction.read(
            "SELECT min(due) FROM (SELECT min(due_ms) AS due FROM escalations UNION ALL "
            "SELECT min(expires_ms) FROM notices WHERE state = 'open' AND expires_ms IS NOT NULL)"
        )
        due: int | None = row[0]
        return due

    def pass_time(self, transaction: Transaction, now_ms: int) -> tuple[list[dict[str, Any]], set[str]]:
        """Let notifications expire and escalate others; return those that expired, and carriers with something new."""
        expired = transaction.read(
            f"SELECT {_SHOWN} FROM notices WHERE state = 'open' AND expires_ms <= ? ORDER BY expires_ms LIMIT ?",  # noqa: S608
            now_ms, BATCH,
        )  # fmt: skip
        for row in expired:
            self.close(transaction, row["id"], "expired", "", "", now_ms, None)
        carriers: set[str] = set()
        due = transaction.read("SELECT * FROM escalations WHERE due_ms <= ? ORDER BY due_ms LIMIT ?", now_ms, BATCH)
        for row in due:
            wanted = self._escalate(transaction, row, now_ms)
            carriers |= wanted
        return [{**_shown(row), "state": "expired", "at_ms": now_ms} for row in expired], carriers

    def _escalate(self, transaction: Transaction, rule: Any, now_ms: int) -> set[str]:
        if _waiting(transaction) >= self._bounds.waiting:  # later: nothing of it is lost
            transaction.execute("UPDATE escalations SET due_ms = ? WHERE id = ?", now_ms + rule["every_ms"], rule["id"])
            return set()
        (row,) = transaction.read(
            "SELECT severity, coalesce(max(reminder), 0) + 1 FROM notices JOIN deliveries ON notices.id = notice "
            "WHERE notices.id = ?", rule["notice"],
        )  # fmt: skip
        carriers = set(json.loads(rule["carriers"]))
        self._deliver(transaction, rule["notice"], sorted(carriers), SEVERITIES[row[0]], row[1], now_ms)
        if rule["left"] <= 1:
            transaction.execute("DELETE FROM escalations WHERE id = ?", rule["id"])
        else:
            transaction.execute(
                "UPDATE escalations SET left = left - 1, due_ms = ? WHERE id = ?", now_ms + rule["every_ms"], rule["id"]
            )
        return carriers

    # -- positions --------------------------------------------------------------------------------------------

    def position(self, transaction: Transaction, name: str) -> str:
        """Return a kept position in the events of the host; empty if there is none."""
        rows = transaction.read("SELECT value FROM kept WHERE name = ?", name)
        return str(rows[0][0]) if rows else ""

    def keep_position(self, transaction: Transaction, name: str, at: str) -> None:
        """Keep a position, in the transaction of what was read up to it."""
        transaction.execute(
            "INSERT INTO kept VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, at
        )


def _waiting(transaction: Transaction) -> int:
    return int(transaction.read("SELECT count(*) FROM deliveries WHERE state = 'waiting'")[0][0])


def _shown(row: Any) -> dict[str, Any]:
    found = dict(row)
    return {**found, "severity": SEVERITIES[found["severity"]], "tags": json.loads(found["tags"])}
