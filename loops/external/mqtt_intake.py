"""Messages of a broker on their way to mailboxes: one at a time of each source, each once. asyncio and a database.

A message is acknowledged to the broker when it is in the mailbox. What was not is sent by the broker again, under the
same number and marked as a repetition; so the number and what it was are kept on the disk before a message goes on, and
a repetition gets the id that it had, also in a process that has just been started. Numbers are used again by the broker
for other messages, which are not marked.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from tlsrt import CallError, Database, Transaction
from tlsrt.loops.external.broker_answers import STEP, BrokerAnswers
from tlsrt.loops.external.broker_message import Received, matches
from tlsrt.loops.external.carrier import PASSING, Carrier
from tlsrt.loops.external.message import BODY_BYTES, TOPIC
from tlsrt.loops.external.mqtt_options import SourceOptions

STEPS = (
    "CREATE TABLE taken (number INTEGER PRIMARY KEY AUTOINCREMENT, mid INTEGER NOT NULL, digest BLOB NOT NULL, "
    "id TEXT NOT NULL, is_done INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX taken_by_mid ON taken (mid)",
    "CREATE TABLE discovered (topic TEXT PRIMARY KEY)",
    STEP,
)
INCOMING = 64  # messages that the broker may have under way to us (Receive Maximum)
WAITING = 256  # of one source
KEPT = 1024  # rows of `taken`; only those under way can be repeated
HOLD_S = 60.0  # how long a mailbox that is full is waited for
_AGAIN_S = 5.0


class MqttIntake:
    """What comes in. `acknowledge` tells the broker."""

    def __init__(
        self, sources: Mapping[str, SourceOptions], database: Database, carrier: Carrier,
        acknowledge: Callable[[Received], None], count: Callable[..., None], log: logging.Logger,
        answers: BrokerAnswers | None = None,
    ) -> None:  # fmt: skip
        self.full: dict[str, str] = {}  # source: why what comes for it is dropped
        self._sources = sources
        self._db = database
        self._carrier = carrier
        self._acknowledge = acknowledge
        self._count = count
        self._log = log
        self._answers = answers
        self._queues: dict[str, asyncio.Queue[Received]] = {name: asyncio.Queue(WAITING) for name in sources}

    def take(self, message: Received) -> None:
        """Take a message of the broker; what no source names is acknowledged and dropped."""
        name = next((one for one, its in self._sources.items() if matches(its.filter, message.topic)), None)
        if name is None:
            self._drop(message, "not_named")
        elif message.is_retained and not self._sources[name].retained:
            self._drop(message, "retained")
        elif len(message.payload) > BODY_BYTES:
            self._drop(message, "too_large")
        else:
            try:
                self._queues[name].put_nowait(message)
            except asyncio.QueueFull:  # the broker has been asked to send no more than INCOMING of QoS 1
                self._count("overflowed")  # not acknowledged: it comes again on the next connection

    def _drop(self, message: Received, why: str) -> None:
        self._count(f"dropped_{why}")
        self._acknowledge(message)

    async def pump(self, name: str) -> None:
        """Hand on what comes from one source, for ever."""
        while True:
            message = await self._queues[name].get()
            while True:
                try:
                    await self._hand_on(name, message)
                except CallError as error:
                    self._log.warning("source %s: %s", name, error.message)
                    await asyncio.sleep(_AGAIN_S)
                    continue
                break

    async def _hand_on(self, name: str, message: Received) -> None:
        id, is_done = os.urandom(16).hex(), False
        if message.mid:
            id, is_done = await self._db.transaction(_note, message.mid, digest_of(message), id, message.is_repeated)
        if not is_done:
            its = self._sources[name]
            await self._keep_way_back(name, id, message)
            try:
                await self._carrier.hand_in(
                    its.to, body_of(message.payload), source=name, peer_id=id, topic=topic_of(name, message.topic),
                    within_s=0 if name in self.full else HOLD_S,
                )  # fmt: skip
            except CallError as error:
                if isinstance(error, PASSING):
                    raise
                self._count("dropped_refused")
                if self.full.get(name) != error.message:
                    self._log.warning("source %s: messages are dropped: %s", name, error.message)
                self.full[name] = error.message
            else:
                self.full.pop(name, None)
                self._count("taken")
            if message.mid:
                await self._db.transaction(_done, id)
        self._acknowledge(message)

    async def _keep_way_back(self, name: str, id: str, message: Received) -> None:
        if self._answers is None or not message.response_topic:
            return
        way = self._answers.way_of(name, message)
        if way is None:
            self._count("dropped_ways_back")
        else:
            await self._answers.keep(name, self._carrier.id_of(name, id), way, self._carrier.now_ms())


def _note(transaction: Transaction, mid: int, digest: bytes, id: str, is_repeated: bool) -> tuple[str, bool]:
    """Keep the id of a message before it goes on; of a repetition return the id that it has, and whether it is done."""
    if is_repeated:
        rows = transaction.read("SELECT id, digest, is_done FROM taken WHERE mid = ? ORDER BY number DESC LIMIT 1", mid)
        if rows and rows[0]["digest"] == digest:
            return rows[0]["id"], bool(rows[0]["is_done"])
    number = transaction.execute("INSERT INTO taken (mid, digest, id) VALUES (?, ?, ?)", mid, digest, id).last_id
    transaction.execute("DELETE FROM taken WHERE number <= ?", number - KEPT)
    return id, False


def _done(transaction: Transaction, id: str) -> None:
    transaction.execute("UPDATE taken SET is_done = 1 WHERE id = ?", id)


def digest_of(message: Received) -> bytes:
    """Return what tells a message from another one of the same number."""
    topic = message.topic.encode("utf-8", "surrogatepass")
    way = "" if not message.response_topic else f"\0{message.response_topic}\0{message.correlation!r}"
    more = way.encode("utf-8", "surrogatepass")
    return hashlib.sha256(len(topic).to_bytes(4, "big") + topic + message.payload + more).digest()


def topic_of(name: str, topic: str) -> str:
    """Return the topic of a message from a source: NAME.TOPIC, or NAME where that is no topic of messages."""
    whole = f"{name}.{topic}"
    return whole if TOPIC.fullmatch(whole) else name


def body_of(payload: bytes) -> Any:
    """Return a payload as text, if it is that."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return payload
    return payload if "\0" in text else text
