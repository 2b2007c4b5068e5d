"""Messages to and from people at an XMPP server: a carrier with a mailbox and an account of its own.

Out: what is sent to `external/xmpp` with the topic PERSON, or PERSON.MORE, goes to that person as a chat message under
an id that is the same each time. Taken for good it is when an app of the person says so (a receipt, XEP-0184): that a
server has acknowledged it (XEP-0198) says only that this server keeps it now.

In: what a listed person writes is sent to the address of the options, and answered by a receipt after that. What came
while this was away is read from the archive (XEP-0313), from a place that is kept on the disk; the server without one
keeps it until it is acknowledged there.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from tlsrt import CallError, Component, ConfigError, Unavailable, database, handler
from tlsrt.loops.external.carrier import Carrier, Message, NotTaken, Refused, derived_id
from tlsrt.loops.external.xmpp_options import XmppOptions
from tlsrt.loops.external.xmpp_scram import XmppError
from tlsrt.loops.external.xmpp_tables import STEPS

try:
    from tlsrt.loops.external import xmpp_stanza as stanzas
    from tlsrt.loops.external import xmpp_tables as tables
    from tlsrt.loops.external.xmpp_intake import Person, XmppIntake
    from tlsrt.loops.external.xmpp_login import Account
    from tlsrt.loops.external.xmpp_session import XmppSession
except ImportError:  # slixmpp is not installed, which the health says
    _HAS_EXTRA = False
else:
    _HAS_EXTRA = True
if TYPE_CHECKING:
    from tlsrt.loops.external.xmpp_stanza import Bounce, Receipt

_WITHOUT = "it needs slixmpp: pip install 'tlsrt[xmpp]', then restart this component"
_PRUNE_S = 3600.0
_RECEIPTS_S = 5.0  # for which nothing is sent again that an app has


class Xmpp(Component):
    """Carries messages to and from people at an XMPP server."""

    Options = XmppOptions
    db = database(steps=STEPS)

    def wall_ms(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return time.time_ns() // 1_000_000

    async def start(self) -> None:
        options = self.options
        self._session: XmppSession | None = None
        self._why = "it is not connected yet"
        self._carrier = Carrier(self, options.retry_s, "person", self.wall_ms)
        self._people: dict[str, Person] = {}  # by bare JID
        self._pumps: list[Any] = []
        if not _HAS_EXTRA:
            self._why = _WITHOUT
            self.log.error(_WITHOUT)
            return
        if not options.jid:
            self._why = "no account yet: set the option `jid`, and the secret with its password"
            return
        self._account = Account(_bare(options.jid), *options.place, options.direct_tls, tuple(options.mechanisms))
        self._password = self.secret("password").decode("utf-8", "replace").rstrip("\r\n")
        self._context = _context(options.ca)
        self._intake = XmppIntake(
            self, self._carrier, self._account.jid, self._people, options.per_minute, self.wall_ms
        )
        for name, one in options.people.items():
            jid = _bare(one.jid)
            if jid in self._people or jid == self._account.jid:
                raise ConfigError(f"people: {jid} is there twice, or the account itself")
            self._people[jid] = person = Person(name, one, jid)
            self._pumps.append(self._carrier.carry(name, partial(self._carry, person), name, options.window))
        others = self._carrier.carry("answers", self._carry_answer, None, options.window, self._is_for_no_topic)
        self._pumps.append(others)
        self.spawn(self._stay_connected, name="connection")
        self.spawn(self._keep_time, name="old rows")

    async def stop(self) -> None:
        if self._session is not None:
            self._session.close()

    async def healthy(self) -> str | None:
        if self._session is None:
            return f"server: {self._why}"
        return self._carrier.trouble()

    @handler(idempotent=True)
    async def people(self) -> dict[str, Any]:
        """The people, with how many messages wait for an app of theirs; `away`: why nothing goes there now."""
        if not _HAS_EXTRA:
            raise Unavailable(_WITHOUT)
        away = self._why if self._session is None else None
        return {
            one.name: {
                "jid": one.jid, "to": one.options.to or None, "unconfirmed": len(one.waiting),
                "away": away or self._carrier.away.get(one.name),
            }
            for one in self._people.values()
        }  # fmt: skip

    # -- the connection ---------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            session = XmppSession(self._account, frozenset(self._people), self._intake.take_at_once)
            try:
                await session.open(self._context, self._password)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(session.run())
                    tasks.create_task(self._serve(session))
            except* (XmppError, OSError, TimeoutError, ssl.SSLError) as group:
                failures = 1 if self._session is session else failures + 1
                self._is_away(_why(group.exceptions[0]))
            finally:
                self._session = None
                session.close()
            await asyncio.sleep(self._carrier.pause_s(failures))

    async def _serve(self, session: XmppSession) -> None:
        """Begin, read what the archive has, then take what comes; what goes out waits for the archive's receipts."""
        await session.begin()
        async with asyncio.TaskGroup() as tasks:
            archive = tasks.create_task(self._intake.catch_up(session))
            await asyncio.wait({archive}, timeout=_RECEIPTS_S)
            if not archive.done() or archive.exception() is None:
                self._is_there(session)
        while True:
            found = await session.next_message()
            if found is None:
                await self._intake.catch_up(session)
                continue
            number, element = found
            heard = stanzas.read_untrusted(element, self._account.jid)
            await self._intake.take(session, heard, None)
            session.is_done(number)

    def _is_there(self, session: XmppSession) -> None:
        self._session = session
        self.log.info("connected to %s as %s", self._account.jid.partition("@")[2], self._account.jid)
        self.count("connects")
        for pump in self._pumps:
            self._carrier.is_there(pump.target)
            pump.hurry()

    def _is_away(self, why: str) -> None:
        if self._why != why or self._session is not None:
            self.log.warning("server: %s", why)
        self._why = why

    async def _keep_time(self) -> None:
        while True:
            try:
                await self.db.transaction(tables.prune, self.wall_ms())
            except CallError as error:
                self.log.warning("cannot remove old rows: %s", error.message)
            await asyncio.sleep(_PRUNE_S)

    # -- out --------------------------------------------------------------------------------------------------

    async def _carry(self, person: Person, message: Message) -> None:
        """Send a message, until it is taken. Raises NotTaken, Refused."""
        wire = derived_id(self.address, "out", f"{message['position']} {message['id']}")
        text = _text_of(message, names_sender=self.options.names_sender)
        needs_device = person.options.taken_by == "device"
        future: asyncio.Future[Receipt | Bounce] = asyncio.get_running_loop().create_future()
        person.waiting[wire] = future
        try:
            while True:
                known = await self._kept(tables.sent, wire)
                if known is not None and known.is_done:
                    return
                left_ms = 0 if known is None else known.taken_ms + self._again_ms(known.tries) - self.wall_ms()
                if left_ms <= 0:
                    await self._send(person, wire, text, message)
                    if needs_device:
                        continue
                    break
                try:
                    until_ms = min(left_ms, max(0, message["expires_ms"] - self.wall_ms()))
                    async with asyncio.timeout(until_ms / 1000 + 0.01):
                        answer = await asyncio.shield(future)
                except TimeoutError:
                    if message["expires_ms"] <= self.wall_ms():
                        raise Refused(
                            f"no app of {person.name} has said that it has this message; the server has it"
                        ) from None
                    continue
                if isinstance(answer, stanzas.Receipt):
                    break
                if not answer.is_passing:
                    raise Refused(f"the server of {person.name} refuses this message: {answer.reason}")
                person.waiting[wire] = future = asyncio.get_running_loop().create_future()
                raise NotTaken(f"the server of {person.name} cannot take it now: {answer.reason}")
            await self._changed(tables.keep_done, wire)
            self.count("carried")
        finally:
            person.waiting.pop(wire, None)

    def _again_ms(self, tries: int) -> float:
        return 1000 * min(86_400.0, float(self.options.again_s) * 2.0 ** min(tries - 1, 16))

    async def _send(self, person: Person, wire: str, text: str, message: Message) -> None:
        session = self._session
        if session is None:
            raise NotTaken(self._why)
        answers = await self._kept(tables.incoming, message["in_reply_to"]) if message["in_reply_to"] else None
        reply = (answers[1], answers[2]) if answers is not None and answers[0] == person.jid and answers[2] else None
        needs_receipt = person.options.taken_by == "device"
        element = stanzas.chat(person.jid, wire, text, reply, wants_receipt=needs_receipt)
        try:
            await session.send(element)
        except (XmppError, TimeoutError) as error:
            session.close("it acknowledges nothing" if isinstance(error, TimeoutError) else str(error))
            raise NotTaken(_why(error)) from None
        await self._changed(tables.keep_taken, wire, person.jid, message["id"], message["from"], self.wall_ms())
        self.count("sent")

    def _is_for_no_topic(self, message: Message) -> bool:
        return message["topic"].partition(".")[0] not in self.options.people

    async def _carry_answer(self, message: Message) -> None:
        """Carry an answer without a topic to whom it answers. Raises NotTaken, Refused."""
        found = await self._kept(tables.incoming, message["in_reply_to"]) if message["in_reply_to"] else None
        person = self._people.get(found[0]) if found is not None else None
        if person is None:
            known = ", ".join(sorted(self.options.people)) or "none yet"
            raise Refused(f"the topic {message['topic']!r} names no person: use one of {known}")
        await self._carry(person, message)

    async def _kept(self, function: Any, *words: Any) -> Any:
        try:
            return await self.db.query(function, *words)
        except CallError as error:
            raise NotTaken(f"the database: {error.message}") from None

    async def _changed(self, function: Any, *words: Any) -> None:
        try:
            await self.db.transaction(function, *words)
        except CallError as error:
            raise NotTaken(f"the database: {error.message}") from None


def _bare(jid: str) -> str:
    try:
        return stanzas.bare_jid(jid)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _context(path: str) -> ssl.SSLContext:
    """Return what TLS to the server is by: 1.3 alone, and a certificate of a trusted authority for its domain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:
        raise ConfigError(f"ca: cannot read {path}: {error.strerror or error}; see `read` under its needs") from None
    return context


def _why(error: BaseException) -> str:
    """Return a sentence about why there is no connection."""
    if isinstance(error, BaseExceptionGroup):
        return _why(error.exceptions[0])
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS 1.3 with it: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError):
        return f"cannot connect: {error.strerror or str(error) or 'it closed the connection'}"
    return str(error)


def _text_of(message: Message, *, names_sender: bool) -> str:
    """Return the text for a person. Raises Refused."""
    body = message["body"]
    if isinstance(body, bytes):
        try:
            body = body.decode()
        except UnicodeDecodeError:
            raise Refused("this message is no text: only text goes to people at an XMPP server") from None
    names = [f"[{one['name']}: it stays at the host]" for one in message["attachments"]]
    text = "\n".join([*([body] if body else []), *names])
    if not text:
        raise Refused("this message is empty")
    return f"[{message['from']}] {text}" if names_sender else text
