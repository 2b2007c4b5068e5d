"""Ways back to who has asked by MQTT 5: response topics and correlation data (section 4.10). A database.

Who writes to a broker may not choose where this host writes: a response topic is taken only where the option `answers`
of the source allows it, and never among the topics of this host itself. The way is kept before the message goes into
its mailbox, so also an answer of the next moment, or of the next process, finds it. It takes one answer, of the one to
whom the message went, and then only the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tlsrt import Database, Transaction
from tlsrt.loops.external.broker_message import Received, matches
from tlsrt.loops.external.carrier import Refused
from tlsrt.loops.external.mqtt_options import SourceOptions, check_topic

STEP = (
    "CREATE TABLE answers (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, "
    "topic TEXT NOT NULL, correlation BLOB, until_ms INTEGER NOT NULL, answer TEXT)"
)
CORRELATION_BYTES = 256
KEPT = 256  # ways of one source: the newest


class Way(NamedTuple):
    """Where an answer goes, and by what who has asked knows it."""

    topic: str
    correlation: bytes | None


class BrokerAnswers:
    """The ways back. `own` are topics below which no answer goes."""

    def __init__(self, sources: Mapping[str, SourceOptions], database: Database, own: tuple[str, ...]) -> None:
        self._sources = sources
        self._database = database
        self._own = own

    def is_allowed(self, source: str, topic: str) -> bool:
        """Tell whether answers to messages of a source may go to a topic, as the options are now."""
        its = self._sources.get(source)
        if its is None or not its.answers or any(topic == one or topic.startswith(f"{one}/") for one in self._own):
            return False
        try:
            check_topic(topic, may_be_filter=False)
        except ValueError:
            return False
        return "#" not in topic and matches(its.answers, topic)

    def way_of(self, source: str, message: Received) -> Way | None:
        """Return the way back that a message of the broker names, if it may be gone."""
        if not message.response_topic or not self.is_allowed(source, message.response_topic):
            return None
        if message.correlation is not None and len(message.correlation) > CORRELATION_BYTES:
            return None
        return Way(message.response_topic, message.correlation)

    async def keep(self, source: str, id: str, way: Way, now_ms: int) -> None:
        """Keep the way back from a message. Raises CallError."""
        until_ms = now_ms + round(self._sources[source].answer_s * 1000)
        await self._database.transaction(_keep, source, id, way, now_ms, until_ms)

    async def find(self, message: Mapping[str, Any], now_ms: int) -> Way | None:
        """Return where an answer goes; None for what answers no message of a broker. Raises Refused, CallError."""
        if not message["in_reply_to"]:
            return None
        row = await self._database.transaction(_find, message["in_reply_to"])
        if row is None:
            return None
        its = self._sources.get(row["source"])
        to = its.to if its is not None else ""
        if row["until_ms"] <= now_ms or not self.is_allowed(row["source"], row["topic"]):
            raise Refused("it is too late to answer this message, or its source takes no answers any more")
        if message["from"] != to and not to.startswith("group/"):
            raise Refused(f"a message to {to} is answered by {to} alone")
        if not await self._database.transaction(_take, row["id"], f"{message['position']} {message['id']}"):
            raise Refused("this message was answered already: who has asked takes one answer")
        return Way(row["topic"], row["correlation"])


def _keep(transaction: Transaction, source: str, id: str, way: Way, now_ms: int, until_ms: int) -> None:
    transaction.execute("DELETE FROM answers WHERE until_ms <= ?", now_ms)
    transaction.execute(
        "INSERT INTO answers (id, source, topic, correlation, until_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        id, source, way.topic, way.correlation, until_ms,
    )  # fmt: skip
    transaction.execute(
        "DELETE FROM answers WHERE source = ? AND number NOT IN "
        "(SELECT number FROM answers WHERE source = ? ORDER BY number DESC LIMIT ?)", source, source, KEPT,
    )  # fmt: skip


def _find(transaction: Transaction, id: str) -> dict[str, Any] | None:
    rows = transaction.read("SELECT id, source, topic, correlation, until_ms FROM answers WHERE id = ?", id)
    return dict(rows[0]) if rows else None


def _take(transaction: Transaction, id: str, answer: str) -> bool:
    """Note which message is the answer; return whether it is this one, now or before."""
    transaction.execute("UPDATE answers SET answer = ? WHERE id = ? AND answer IS NULL", answer, id)
    return bool(transaction.read("SELECT 1 FROM answers WHERE id = ? AND answer = ?", id, answer))
