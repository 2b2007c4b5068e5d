"""What people write to the account of external/xmpp: handed in once, from the connection or from the archive.

The place in the archive moves with what was dealt with and never beyond it, so what came while this was away, or had no
room, is read from there. What is dealt with is on the disk first: then the server hears of it, and the app.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

from tlsrt import CallError, Component, Failed, InvalidArgument, NotFound
from tlsrt.loops.external import xmpp_stanza as stanzas
from tlsrt.loops.external import xmpp_tables as tables
from tlsrt.loops.external.carrier import Carrier
from tlsrt.loops.external.xmpp_options import PersonOptions
from tlsrt.loops.external.xmpp_session import StanzaError, XmppSession
from tlsrt.loops.external.xmpp_stanza import Heard, Text

MINUTE_S = 60.0
_WIRE = re.compile("[0-9a-f]{32}")  # ids of ours
STRANGERS = 10  # messages of them in a minute are told as an alert


@dataclass
class Person:
    """A person, and what is under way."""

    name: str
    options: PersonOptions
    jid: str
    waiting: dict[str, asyncio.Future[stanzas.Receipt | stanzas.Bounce]] = field(default_factory=dict)  # by wire id
    times: deque[float] = field(default_factory=deque)  # of messages within the last minute
    told_s: float = -MINUTE_S


class XmppIntake:
    """Deals with what comes for one account."""

    def __init__(
        self, component: Component, carrier: Carrier, own: str, people: Mapping[str, Person], per_minute: int,
        wall_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._db = component.db  # type: ignore[attr-defined]
        self._count, self._alert, self._log = component.count, component.alert, component.log
        self._carrier = carrier
        self._own = own
        self._people = people
        self._per_minute = per_minute
        self._wall_ms = wall_ms
        self._strangers: deque[float] = deque(maxlen=STRANGERS)

    async def catch_up(self, session: XmppSession) -> None:
        """Take what the archive has behind the place that is kept. Raises XmppError, TimeoutError."""
        if not session.has_archive:
            return
        own = self._own
        at = await self._patiently(self._db.query, tables.place, own)
        if at is None:  # the first time: what was written before is not for this host
            newest = (await session.archive(None, newest=True)).messages
            at = tables.Place(*newest[-1][:2]) if newest else tables.Place("", "")
            await self._patiently(self._db.transaction, tables.keep_heard, "", "", at, own, self._wall_ms())
        since = ""
        while True:
            try:
                page = await session.archive(at.position, since)
            except StanzaError as error:
                if error.condition != "item-not-found" or since or not at.position:
                    raise
                at, since = tables.Place("", at.stamp), at.stamp  # the archive has forgotten that message
                if not since:
                    return
                continue
            for archive_id, stamp, heard in page.messages:
                at = tables.Place(archive_id, stamp)
                await self.take(session, heard, at)
            if page.messages:
                await self._keep_heard("", "", at)
            if page.is_last:
                return

    async def take(self, session: XmppSession, heard: Heard, at: tables.Place | None) -> None:
        """Deal with what has come; when this returns it may be acknowledged. `at` is its place in the archive."""
        if isinstance(heard, stanzas.Nothing):
            self._count(heard.why)
        elif (person := self._people.get(heard.person)) is None:
            self._is_stranger()
        elif isinstance(heard, stanzas.Receipt | stanzas.Bounce):
            future = person.waiting.get(heard.id)
            if future is not None and not future.done():
                future.set_result(heard)
            elif isinstance(heard, stanzas.Receipt) and _WIRE.fullmatch(heard.id):  # of one not watched again yet
                received = heard.id, person.jid, self._wall_ms()
                await self._patiently(self._db.transaction, tables.keep_received, *received)
        elif isinstance(heard, stanzas.Sealed):
            if at is None:
                self._tell(session, person, "this host reads no encrypted messages: switch OMEMO off for it")
        else:
            await self._take_text(session, person, heard, at)

    def take_at_once(self, element: Element) -> bool:
        """Deal with a receipt or an error that a message waits for; False if it is something else."""
        heard = stanzas.read_untrusted(element, self._own)
        person = self._people.get(heard.person) if isinstance(heard, stanzas.Receipt | stanzas.Bounce) else None
        if person is None or not isinstance(heard, stanzas.Receipt | stanzas.Bounce):
            return False
        future = person.waiting.get(heard.id)
        if future is None or future.done():
            return False
        future.set_result(heard)
        return True

    async def _take_text(self, session: XmppSession, person: Person, heard: Text, at: tables.Place | None) -> None:
        """Hand in what a person has written, once; then tell the app, or why not."""
        keys, is_live = heard.keys, at is None
        id = why = ""
        if any(keys) and await self._patiently(self._db.query, tables.is_heard, *keys):
            self._count("repeated")
        else:
            id, why = await self._hand_in(person, heard, is_live=is_live)
        if is_live and heard.archive_id and session.has_archive:
            at = tables.Place(heard.archive_id, _iso(self._wall_ms() - tables.DAY_MS))
        await self._keep_heard(*keys, at, (id, person.jid, heard.device, heard.id) if id else None)
        if why:
            self._count("refused_in")
            self._tell(session, person, why)
        elif heard.receipt_id:
            session.tell(stanzas.receipt(person.jid, heard.receipt_id))

    async def _keep_heard(
        self, archive_key: str, said_key: str, at: tables.Place | None, answerable: tables.Answerable | None = None
    ) -> None:
        now, own = self._wall_ms(), self._own
        await self._patiently(self._db.transaction, tables.keep_heard, archive_key, said_key, at, own, now, answerable)

    async def _hand_in(self, person: Person, heard: Text, *, is_live: bool) -> tuple[str, str]:
        """Send a text to whom the options name, or who has written what it answers; return its id, or why not."""
        if not person.options.to:
            return "", "this host takes no messages from you"
        if is_live and not self._has_room(person):
            return "", f"more than {self._per_minute} messages in a minute: wait, and send it again"
        to, in_reply_to = person.options.to, None
        if heard.reply_to:
            answered = await self._patiently(self._db.query, tables.answered, heard.reply_to, person.jid)
            if answered is not None:
                in_reply_to, to = answered
        failures = 0
        while True:
            try:
                sent = await self._carrier.hand_in(
                    to, heard.text, source=person.jid, peer_id=heard.peer_id, topic=person.name,
                    in_reply_to=in_reply_to, within_s=0,
                )  # fmt: skip
                break
            except (Failed, InvalidArgument, NotFound) as error:
                self._log.warning("a message of %s is not kept: %s", person.name, error.message)
                return "", f"not kept: {error.message}"
            except CallError as error:
                failures += 1
                self._log.warning("cannot hand in what %s has written: %s", person.name, error.message)
                await asyncio.sleep(min(self._carrier.pause_s(failures), 10.0))
        self._count("received")
        return str(sent["id"]), ""

    def _has_room(self, person: Person) -> bool:
        now = asyncio.get_running_loop().time()
        while person.times and person.times[0] < now - MINUTE_S:
            person.times.popleft()
        if len(person.times) >= self._per_minute:
            return False
        person.times.append(now)
        return True

    def _tell(self, session: XmppSession, person: Person, words: str) -> None:
        """Say something to a person, once a minute at most."""
        now = asyncio.get_running_loop().time()
        if now - person.told_s >= MINUTE_S:
            person.told_s = now
            session.tell(stanzas.chat(person.jid, os.urandom(16).hex(), words, None, wants_receipt=False))

    async def _patiently(self, function: Any, *words: Any) -> Any:
        """Use the database until it answers."""
        failures = 0
        while True:
            try:
                return await function(*words)
            except CallError as error:
                failures += 1
                self._log.warning("the database: %s", error.message)
                await asyncio.sleep(min(self._carrier.pause_s(failures), 10.0))

    def _is_stranger(self) -> None:
        self._count("strangers")
        now = asyncio.get_running_loop().time()
        self._strangers.append(now)
        if len(self._strangers) == STRANGERS and self._strangers[0] > now - MINUTE_S:
            self._strangers.clear()
            self._alert("strangers")


def _iso(ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000))
