"""One connection to an XMPP server: stream management, and questions to the own archive.

Its rules: nothing is
acknowledged to the server (XEP-0198) before it was dealt with; a message counts as taken by the server when the server
has acknowledged it. A new connection resumes no old one: what the server had not yet delivered comes again, by its
store or archive.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from tlsrt.loops.external.xmpp_login import IQ, SM, Account, log_in, question
from tlsrt.loops.external.xmpp_scram import XmppError
from tlsrt.loops.external.xmpp_stanza import MAM, MESSAGE, Heard, read_archived_untrusted
from tlsrt.loops.external.xmpp_stream import STREAMS, XmppStream

ANSWER_S = 30.0  # for an answer of the server
IDLE_S = 60.0  # then the server is asked whether it is there
WAITING = 256  # messages of people that wait to be dealt with
PAGE = 50
_CONTACTS, _DISCO = "jabber:iq:roster", "http://jabber.org/protocol/disco#info"
_RSM, _FORM = "http://jabber.org/protocol/rsm", "jabber:x:data"
_PING = "{urn:xmpp:ping}ping"
_PRESENCE = "{jabber:client}presence"
_STANZAS = (IQ, _PRESENCE, MESSAGE)


class StanzaError(XmppError):
    """The server answers a question with an error; `condition` is its word for it."""

    def __init__(self, condition: str) -> None:
        self.condition = condition
        super().__init__(f"it answers with {condition}")


@dataclass(frozen=True)
class Page:
    """A part of the archive: archive id, stamp and what it is; `is_last` if there is no more."""

    messages: list[tuple[str, str, Heard]]
    is_last: bool


class XmppSession:
    """A connection that is logged in after `open`, and ends with `run`."""

    def __init__(self, account: Account, people: frozenset[str], is_taken: Callable[[Element], bool]) -> None:
        """`people` may see that this account is there; messages that `is_taken` says yes to wait for no others."""
        self._is_taken = is_taken
        self._account = account
        self._people = people
        self._domain = account.jid.partition("@")[2]
        self._stream = XmppStream(self._domain)
        self.has_archive = False
        self.is_behind = False  # messages that came were left to the archive
        self._answers: dict[str, tuple[str, asyncio.Future[Element]]] = {}
        self._query = ""
        self._page: list[tuple[str, str, Heard]] = []
        self._messages: deque[tuple[int, Element]] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._received = self._handled = 0  # stanzas of the server, and how many of the first are dealt with
        self._dealt_with: set[int] = set()
        self._sent = self._acknowledged = 0
        self._unacknowledged: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def open(self, context: ssl.SSLContext, password: str) -> None:
        """Connect and log in. Raises XmppError, OSError (also ssl.SSLError), TimeoutError."""
        async with asyncio.timeout(ANSWER_S):
            await log_in(self._stream, self._account, context, password)

    # -- running ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take what the server sends, until the connection ends. Never returns; raises a group of XmppError."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._look())

    async def begin(self) -> None:
        """Tell the server who may write here, and that this account is there. Raises XmppError, TimeoutError."""
        found = await self.ask(question("get", Element(f"{{{_DISCO}}}query"), to=self._account.jid))
        self.has_archive = found.find(f".//{{{_DISCO}}}feature[@var='{MAM}']") is not None
        contacts = await self.ask(question("get", Element(f"{{{_CONTACTS}}}query")))
        known = {
            one.get("jid"): one for one in contacts.iterfind(f"{{{_CONTACTS}}}query/{{{_CONTACTS}}}item")
        }  # fmt: skip
        for person in sorted(self._people):
            item = known.get(person)
            if item is None or (item.get("subscription") not in ("to", "both") and item.get("ask") is None):
                self._send(Element(_PRESENCE, {"to": person, "type": "subscribe"}))
        self._send(Element(_PRESENCE))

    async def _read(self) -> None:
        while True:
            element = await self._stream.next()
            tag = element.tag
            if tag in _STANZAS:
                self._received += 1
                number = self._received
                if tag == MESSAGE and not self._is_of_archive(element) and not self._is_taken(element):
                    await self._keep(number, element)
                    continue
                if tag == IQ:
                    self._hear(element)
                elif tag == _PRESENCE:
                    self._presence(element)
                self.is_done(number)
            elif tag == f"{{{SM}}}a":
                self._is_acknowledged(element)
            elif tag == f"{{{SM}}}r":
                self._stream.write(Element(f"{{{SM}}}a", {"h": str(self._handled % 2**32)}))
            elif tag == f"{{{STREAMS}}}error":
                reason = next((one.tag.partition("}")[2] for one in element), "no reason")
                raise XmppError(f"it ends the stream: {reason[:64]}")

    async def _look(self) -> None:
        """Find out that the server is not there any more, which TCP does not tell for hours."""
        while True:
            await asyncio.sleep(IDLE_S)
            await self.ask(question("get", Element(_PING), to=self._domain))

    async def _keep(self, number: int, element: Element) -> None:
        """Have a message wait to be dealt with; where there is no room it is left to the archive, or to the server."""
        while self.is_behind or len(self._messages) >= WAITING:
            if self.has_archive:  # with the first all that follow: what is taken must have no gap
                self.is_behind = True
                self.is_done(number)
                return
            self._room.clear()
            await self._room.wait()
        self._messages.append((number, element))
        self._news.set()

    async def next_message(self) -> tuple[int, Element] | None:
        """Return the next message with its number for `is_done`; None when messages were left to the archive."""
        while not self._messages:
            if self.is_behind:
                self.is_behind = False
                return None
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._messages.popleft()

    def is_done(self, number: int) -> None:
        """Note that a stanza was dealt with; the server hears of it when all before it were, too."""
        self._dealt_with.add(number)
        before = self._handled
        while self._handled + 1 in self._dealt_with:
            self._handled += 1
            self._dealt_with.discard(self._handled)
        if self._handled // 16 != before // 16 and not self._stream.why:
            self._stream.write(Element(f"{{{SM}}}a", {"h": str(self._handled % 2**32)}))

    def close(self, why: str = "this host has ended it") -> None:
        """End the connection; all that waits for it fails."""
        if not self._stream.why and self._stream.transport is not None:
            self._stream.write(Element(f"{{{SM}}}a", {"h": str(self._handled % 2**32)}))
        self._stream.end(why, is_orderly=True)
        error = XmppError(self._stream.why)
        futures: list[asyncio.Future[Any]] = [future for _, future in self._unacknowledged]
        futures += [future for _, future in self._answers.values()]
        for future in futures:
            if not future.done():
                future.set_exception(error)
                future.exception()  # who waited may have been cancelled
        self._unacknowledged.clear()
        self._answers.clear()
        self.is_behind = True
        self._news.set()
        self._room.set()

    # -- sending ----------------------------------------------------------------------------------------------

    async def send(self, element: Element) -> None:
        """Send a message; returns when the server has taken it. Raises XmppError, TimeoutError."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._send(element)
        self._unacknowledged.append((self._sent, future))
        self._stream.write(Element(f"{{{SM}}}r"))
        async with asyncio.timeout(ANSWER_S):
            await future

    def tell(self, element: Element) -> None:
        """Send a stanza that may be lost, if there is a connection."""
        if not self._stream.why:
            self._send(element)

    def _send(self, element: Element) -> None:
        self._stream.write(element)
        self._sent += 1

    def _is_acknowledged(self, element: Element) -> None:
        text = element.get("h", "")
        count = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else -1
        step = (count - self._acknowledged) % 2**32
        if count < 0 or step > self._sent - self._acknowledged:
            raise XmppError("it acknowledges what was not sent")
        self._acknowledged += step
        while self._unacknowledged and self._unacknowledged[0][0] <= self._acknowledged:
            future = self._unacknowledged.popleft()[1]
            if not future.done():
                future.set_result(None)

    # -- questions --------------------------------------------------------------------------------------------

    async def ask(self, question: Element) -> Element:
        """Send a question, and return the answer. Raises XmppError, StanzaError, TimeoutError."""
        id = secrets.token_hex(8)
        question.set("id", id)
        future: asyncio.Future[Element] = asyncio.get_running_loop().create_future()
        self._answers[id] = question.get("to", self._account.jid), future
        try:
            self._send(question)
            async with asyncio.timeout(ANSWER_S):
                return await future
        finally:
            self._answers.pop(id, None)

    def _hear(self, element: Element) -> None:
        kind, id = element.get("type", ""), element.get("id", "")
        if kind in ("result", "error"):
            to, future = self._answers.get(id, ("", None))
            if future is None or future.done() or element.get("from", self._account.jid) not in (to, self._account.jid):
                return
            if kind == "result":
                future.set_result(element)
                return
            error = element.find("{jabber:client}error")
            conditions = [one.tag.partition("}")[2] for one in error] if error is not None else []
            future.set_exception(StanzaError((conditions or ["an error"])[0][:64]))
            return
        answer = Element(IQ, {"id": id[:512], "to": element.get("from", "")})
        is_of_server = element.get("from", self._account.jid) in (self._account.jid, self._domain)
        is_push = kind == "set" and element.find(f"{{{_CONTACTS}}}query") is not None
        if not is_of_server:
            return  # who asks whether this account is there hears nothing
        if is_push or element.find(_PING) is not None:
            answer.set("type", "result")
        else:
            answer.set("type", "error")
            error = SubElement(answer, "{jabber:client}error", {"type": "cancel"})
            SubElement(error, "{urn:ietf:params:xml:ns:xmpp-stanzas}service-unavailable")
        if not answer.get("to"):
            del answer.attrib["to"]
        self._send(answer)

    def _presence(self, element: Element) -> None:
        """Let those who are listed, and no others, see that this account is there."""
        if element.get("type") == "subscribe" and element.get("from", "") in self._people:
            self._send(Element(_PRESENCE, {"to": element.get("from", ""), "type": "subscribed"}))

    # -- the archive ------------------------------------------------------------------------------------------

    async def archive(self, after: str | None, since: str = "", *, newest: bool = False) -> Page:
        """Return messages of the own archive, the oldest first: after an archive id, or since a time. Raises as `ask`.

        With `newest` the last one alone.
        """
        self._query, self._page = secrets.token_hex(8), []
        query = Element(f"{{{MAM}}}query", {"queryid": self._query})
        if since:
            form = SubElement(query, f"{{{_FORM}}}x", {"type": "submit"})
            for name, value in (("FORM_TYPE", MAM), ("start", since)):
                field = SubElement(form, f"{{{_FORM}}}field", {"var": name})
                SubElement(field, f"{{{_FORM}}}value").text = value
        part = SubElement(query, f"{{{_RSM}}}set")
        SubElement(part, f"{{{_RSM}}}max").text = "1" if newest else str(PAGE)
        if newest:
            SubElement(part, f"{{{_RSM}}}before")
        elif after:
            SubElement(part, f"{{{_RSM}}}after").text = after
        try:
            answer = await self.ask(question("set", query))
            return Page(self._page, answer.find(f"{{{MAM}}}fin[@complete='true']") is not None or not self._page)
        finally:
            self._query, self._page = "", []

    def _is_of_archive(self, element: Element) -> bool:
        found = read_archived_untrusted(element, self._account.jid, self._query) if self._query else None
        if found is None:
            return False
        if len(self._page) >= PAGE:
            raise XmppError("its archive gives more than it was asked for")
        self._page.append(found)
        return True
