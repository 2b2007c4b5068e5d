"""Mail that comes in: taken from the folder in its order, each handed in once, and done with when that is answered.

Mail that is not taken stays in the folder, unseen, for people to look at; nothing is ever sent to who sent it. What
cannot be handed in now waits in the folder, and delays no other.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from tlsrt import CallError, Component, Database, Failed
from tlsrt.loops.external import mail_tables as tables
from tlsrt.loops.external.carrier import MESSAGES, Carrier, derived_id
from tlsrt.loops.external.mail_folder import BATCH, FolderAwayError, MailFolder
from tlsrt.loops.external.mail_options import MailOptions
from tlsrt.loops.external.mail_reading import Dropped, File, Mail, read_mail_untrusted

_FOLDER = "folder"
_SAY_S = 60.0  # between lines of the log about mail that is not taken
_UPLOAD_S = 300.0


class MailIntake:
    """Takes mail in, for ever."""

    def __init__(
        self, component: Component, options: MailOptions, database: Database, carrier: Carrier, key: bytes | None,
        make_folder: Callable[[], MailFolder], log: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:  # fmt: skip
        self._component = component
        self._options = options
        self._db = database
        self._carrier = carrier
        self._key = key
        self._make_folder = make_folder
        self._log = log
        self._said = -_SAY_S
        self._due: dict[str, float] = {}  # person: when what waits for them is tried again
        self._failures: dict[str, int] = {}
        self._room: dict[str, tuple[float, float]] = {}  # person: mails that may come, and when that was so

    async def run(self) -> None:
        """Keep a connection to the folder."""
        assert self._options.imap is not None
        failures = 0
        while True:
            folder = self._make_folder()
            try:
                opened = await folder.open()
                name = f"{self._options.account} {self._options.imap.host} {self._options.imap.folder}"
                place = await self._db.transaction(tables.begin, name, *opened)
                uid = place.uid
                while True:
                    uid = await self._take_all(folder, uid, place.unseen_below)
                    self._carrier.is_there(_FOLDER)
                    failures = 0
                    await folder.wait(await self._pause_s(), self._options.poll_s)
            except FolderAwayError as error:
                why = str(error)
            except CallError as error:
                why = error.message
            finally:
                await folder.close()
            failures += 1
            self._carrier.is_away(_FOLDER, why)
            await asyncio.sleep(self._carrier.pause_s(failures))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _pause_s(self) -> float:
        """Return how long the folder may be left alone."""
        waiting = await self._db.query(tables.waiting)
        due = [self._due.get(person, 0.0) - self._now() for person in set(waiting.values())]
        return max(0.5, min([self._options.idle_s, *due]))

    async def _take_all(self, folder: MailFolder, uid: int, unseen_below: int) -> int:
        """Take in what waits and what is new; return the last UID of these."""
        waiting = await self._db.query(tables.waiting)
        again = [one for one, person in waiting.items() if self._due.get(person, 0.0) <= self._now()]
        new = await folder.uids(uid, unseen_below)
        room = tables.LATER - len(waiting)
        for begin in range(0, len(again), BATCH):
            await self._take_batch(folder, again[begin : begin + BATCH], 0, 0, waiting)
        for begin in range(0, len(new), BATCH):
            batch = new[begin : begin + BATCH]
            if room < len(batch):
                break  # too much waits: this stays where it is
            room -= await self._take_batch(folder, batch, batch[-1], unseen_below, {})
            uid = batch[-1]
        return uid

    async def _take_batch(
        self, folder: MailFolder, uids: list[int], last: int, unseen_below: int, waiting: dict[int, str]
    ) -> int:
        """Take some mails in; return how many of them wait."""
        about = await folder.about(uids)
        taken: list[int] = []
        gone: list[int] = []
        later: dict[int, str] = {}
        most = self._options.mail_mb << 20
        for uid in uids:
            one, person = about.get(uid), waiting.get(uid)
            if one is None or (one.is_seen and uid < unseen_below):
                gone.append(uid)
                continue
            if person is not None and self._due.get(person, 0.0) > self._now():
                continue
            data = await folder.content(uid, most)
            if data is None:
                gone.append(uid)
                continue
            mail = await self._component.work(read_mail_untrusted, data, one.size, self._options, self._key)
            if isinstance(mail, Mail) and await self._is_own(mail):
                mail = Dropped("loops", "it went out from here")
            if isinstance(mail, Dropped):
                self._say(uid, mail)
                gone.append(uid)
            elif await self._hand_in(mail):
                taken.append(uid)
            else:
                later[uid] = mail.person
        await folder.finish(taken)
        await self._db.transaction(tables.go_on, last, [*taken, *gone], later)
        return len(later)

    async def _is_own(self, mail: Mail) -> bool:
        message_id = mail.thread.message_id
        is_own: bool = bool(message_id) and await self._db.query(tables.is_own, message_id)
        return is_own

    def _say(self, uid: int, dropped: Dropped) -> None:
        self._component.count(dropped.word)
        if self._now() - self._said >= _SAY_S:  # who sends much fills no log
            self._said = self._now()
            self._log.warning("mail %d is not taken, and stays in its folder: %s", uid, dropped.reason)

    async def _hand_in(self, mail: Mail) -> bool:
        """Hand one mail in; return whether that is done, also before."""
        person = mail.person
        id = derived_id(self._component.address, person, mail.key)
        has_come: bool = await self._db.query(tables.is_received, id)
        if has_come:
            self._component.count("repeated")
            return True
        if not self._has_room(person):
            return False
        try:
            attachments, left_out = await self._attach(mail.files)
            answered = await self._db.query(tables.answered, mail.answers, person)
            to, in_reply_to = answered or (self._options.people[person].to, None)
            await self._carrier.hand_in(
                to, "\n".join([mail.text, *left_out]), source=person, peer_id=mail.key, topic=person,
                in_reply_to=in_reply_to, attachments=attachments, within_s=0,
            )  # fmt: skip
        except CallError as error:
            failures = self._failures[person] = self._failures.get(person, 0) + 1
            self._due[person] = self._now() + self._carrier.pause_s(failures)
            self._carrier.is_away(f"{person} (mail in)", error.message)
            return False
        await self._db.transaction(tables.receive, id, person, mail.thread)
        self._failures.pop(person, None)
        self._due.pop(person, None)
        self._carrier.is_there(f"{person} (mail in)")
        self._component.count("received")
        return True

    def _has_room(self, person: str) -> bool:
        """Take one of the mails that a person may send; what is more waits."""
        most, now = float(self._options.per_hour), self._now()
        room, since = self._room.get(person, (most, now))
        room = min(most, room + (now - since) * most / 3600)
        if room < 1:
            self._room[person] = room, now
            self._due[person] = now + (1 - room) * 3600 / most
            self._component.count("delayed")
            return False
        self._room[person] = room - 1, now
        return True

    async def _attach(self, files: list[File]) -> tuple[list[dict[str, Any]], list[str]]:
        """Send attachments; return them as a message names them, and what is said of those that are too large."""
        attachments: list[dict[str, Any]] = []
        left_out: list[str] = []
        for name, data in files:
            about = (name, len(data), hashlib.sha256(data).hexdigest())
            begin = partial(self._component.call, MESSAGES, "begin_put", *about)
            try:
                begun = await begin()
            except Failed as error:
                left_out.append(f"[left out: {name}: {error.message}]")
                continue
            if not begun["done"]:
                offset = begun["offset"]
                await self._component.upload(
                    MESSAGES, "go_on_put", data[offset:], *about, offset, timeout_s=_UPLOAD_S
                )  # fmt: skip
            attachments.append({"name": name, "size": about[1], "sha256": about[2]})
        return attachments, left_out
