"""An XMPP server that logs one account in, over real TLS, and then lies as a test has it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, XMLPullParser

from fakes.own_certificate import server_context

DOMAIN, PASSWORD = "lies.test", "pencil"
OWN = f"house@{DOMAIN}"
_HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
    f"from='{DOMAIN}' id='1' version='1.0'>"
)
_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
Write = Callable[[str], None]


class LyingXmppServer:
    """What a test sets is what it does otherwise than an honest server."""

    def __init__(self, folder: Path, name: str = DOMAIN) -> None:
        self.context = server_context(folder, name)
        self.ca = str(folder / "ca.pem")
        self.mechanisms: tuple[str, ...] = ("SCRAM-SHA-256",)
        self.offers_tls = True
        self.behind_proceed = ""  # sent in clear, right after it
        self.iterations = 4096
        self.proof: Callable[[bytes], bytes] = lambda right: right
        self.is_early = False  # success comes where the challenge has to
        self.has_archive = False
        self.archive: Callable[[str, str], str] = lambda query, after: ""  # messages, for a query id
        self.complete = "true"
        self.at_presence: Callable[[Write], Awaitable[None]] | None = None
        self.clear: list[bytes] = []  # what it got before TLS
        self.texts: list[Element] = []
        self.said: list[Element] = []  # other stanzas
        self.handled = 0  # by the client, as it says
        self.logins = 0
        self.write: Write = lambda text: None
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> LyingXmppServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (OSError, EOFError, ssl.SSLError):
            return
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def write(text: str) -> None:
            writer.write(text.encode())

        async def read(end: bytes) -> bytes:
            return await reader.readuntil(end)

        self.clear.append(await read(b"version='1.0'>"))
        offered = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" if self.offers_tls else self._mechanisms()
        write(f"{_HEADER}<stream:features>{offered}</stream:features>")
        self.clear.append(await read(b"/>"))
        write(f"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{self.behind_proceed}")
        await writer.drain()
        await writer.start_tls(self.context)
        await read(b"version='1.0'>")
        write(f"{_HEADER}<stream:features>{self._mechanisms()}</stream:features>")
        await self._log_in(read, write)
        await read(b"version='1.0'>")
        write(
            f"{_HEADER}<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>"
            "</stream:features>"
        )
        await read(b"</iq>")
        write(
            "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            f"<jid>{OWN}/1</jid></bind></iq>"
        )  # fmt: skip
        await read(b"/>")
        write("<enabled xmlns='urn:xmpp:sm:3'/>")
        self.logins += 1
        self.write = write
        await self._answer(reader, write)

    def _mechanisms(self) -> str:
        return (
            f"<mechanisms xmlns='{_SASL}'>"
            + "".join(f"<mechanism>{one}</mechanism>" for one in self.mechanisms)
            + ("</mechanisms>")
        )

    async def _log_in(self, read: Callable[[bytes], Awaitable[bytes]], write: Write) -> None:
        auth = await read(b"</auth>")
        if b'"PLAIN"' in auth:
            write(f"<success xmlns='{_SASL}'/>")
            return
        first = _content(auth).removeprefix(b"n,,")
        nonce = re.search(rb"r=([^,]+)", first)
        assert nonce is not None
        salt = os.urandom(16)
        answer = b"r=%sserver,s=%s,i=%d" % (nonce[1], base64.b64encode(salt), self.iterations)
        if self.is_early:
            write(f"<success xmlns='{_SASL}'>{base64.b64encode(answer).decode()}</success>")
            return
        write(f"<challenge xmlns='{_SASL}'>{base64.b64encode(answer).decode()}</challenge>")
        final = _content(await read(b"</response>"))
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, self.iterations)
        words = b",".join((first, answer, final.rpartition(b",p=")[0]))
        right = b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), words, "sha256"))
        write(f"<success xmlns='{_SASL}'>{base64.b64encode(self.proof(right)).decode()}</success>")

    async def _answer(self, reader: asyncio.StreamReader, write: Write) -> None:
        parser: Any = XMLPullParser(("start", "end"))
        depth = count = 0
        parser.feed("<x xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
        while data := await reader.read(65536):
            parser.feed(data.replace(b"</stream:stream>", b""))
            for kind, element in parser.read_events():
                depth += 1 if kind == "start" else -1
                if kind == "start" or depth != 1:
                    continue
                if element.tag.endswith("}header"):
                    continue
                if element.tag.startswith("{jabber:client}"):
                    count += 1
                await self._hear(element, count, write)

    async def _hear(self, element: Any, count: int, write: Write) -> None:
        name = element.tag.partition("}")[2]
        if name == "r":
            write(f"<a xmlns='urn:xmpp:sm:3' h='{count}'/>")
        elif name == "a":
            self.handled = int(element.get("h"))
        elif name == "message" and element.find("{jabber:client}body") is not None:
            self.texts.append(element)
        elif name == "iq":
            self._answer_question(element, write)
        else:
            self.said.append(element)
            if name == "presence" and element.get("type") is None and self.at_presence is not None:
                await self.at_presence(write)

    def _answer_question(self, element: Any, write: Write) -> None:
        id, content = element.get("id"), element[0].tag
        if content == "{http://jabber.org/protocol/disco#info}query":
            feature = "<feature var='urn:xmpp:mam:2'/>" if self.has_archive else ""
            query = f"<query xmlns='http://jabber.org/protocol/disco#info'>{feature}</query>"
            write(f"<iq type='result' id='{id}' from='{OWN}'>{query}</iq>")
        elif content == "{urn:xmpp:mam:2}query":
            after = element.findtext(".//{http://jabber.org/protocol/rsm}after", "")
            write(self.archive(element[0].get("queryid"), after))
            write(f"<iq type='result' id='{id}'><fin xmlns='urn:xmpp:mam:2' complete='{self.complete}'/></iq>")
        elif content == "{jabber:iq:roster}query":
            write(f"<iq type='result' id='{id}'><query xmlns='jabber:iq:roster'/></iq>")


def archived(query: str, id: str, sender: str, text: str, *, by: str = OWN, to: str = OWN) -> str:
    """Return a message as an archive gives it."""
    inner = (
        f"<message xmlns='jabber:client' type='chat' from='{sender}' to='{to}' id='{id}'><body>{text}</body></message>"
    )
    return (
        f"<message from='{by}' to='{OWN}/1'><result xmlns='urn:xmpp:mam:2' queryid='{query}' id='{id}'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>{inner}"
        "</forwarded></result></message>"
    )


def _content(element: bytes) -> bytes:
    found = re.search(rb">([^<]*)</", element)
    assert found is not None
    return base64.b64decode(found[1])
