"""A stream of XML to an XMPP server: slixmpp's, behind bounds that it has not. No stanza is answered here.

RFC 6120 forbids document types, processing instructions and comments in a stream (section 11.1), so expat sees every
byte before slixmpp does, and the first that breaks a bound ends the stream. So no entity is ever expanded, and what a
server makes this process keep is bounded: one stanza of STANZA_BYTES, and HIGH stanzas that wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from xml.etree.ElementTree import Element
from xml.parsers import expat

from slixmpp.xmlstream import XMLStream
from slixmpp.xmlstream.tostring import tostring

from tlsrt.loops.external.xmpp_scram import XmppError

CLIENT, STREAMS = "jabber:client", "http://etherx.jabber.org/streams"
STANZA_BYTES = 512 << 10  # a text of 64 KiB, each character escaped, and what servers add; prosody's own bound
DEPTH = 32  # a message in an archive has 6
ELEMENTS = 4096  # of one stanza: a list of some hundred contacts
ATTRIBUTES = 64
HIGH, LOW = 256, 32  # stanzas that wait: there reading pauses, and goes on


class StreamGuard:
    """Looks at every byte of a stream before it is parsed."""

    def __init__(self) -> None:
        parser = self._parser = expat.ParserCreate()
        if hasattr(parser, "SetReparseDeferralEnabled"):  # it would see the end of a stanza too late
            parser.SetReparseDeferralEnabled(False)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._refuse("a document type")
        parser.ProcessingInstructionHandler = self._refuse("a processing instruction")
        parser.CommentHandler = self._refuse("a comment")
        self._depth = self._elements = self._fed = self._began = 0

    def feed_untrusted(self, data: bytes) -> None:
        """Look at the next bytes. Raises XmppError, and nothing else."""
        self._fed += len(data)
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            raise XmppError(f"what it sends is no XML: {expat.ErrorString(error.code)}") from None
        if self._fed - self._began > STANZA_BYTES:
            raise XmppError(f"a stanza has more than {STANZA_BYTES} bytes")

    def _start(self, _: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > DEPTH or self._elements > ELEMENTS or len(attributes) > ATTRIBUTES:
            raise XmppError(f"a stanza is deeper than {DEPTH}, or has more than {ELEMENTS} elements")

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._depth <= 1:
            at = self._parser.CurrentByteIndex
            if at - self._began > STANZA_BYTES:
                raise XmppError(f"a stanza has more than {STANZA_BYTES} bytes")
            self._began, self._elements = at, 0

    @staticmethod
    def _refuse(what: str) -> Any:
        def refuse(*_: object) -> None:
            raise XmppError(f"it sends {what}, which XMPP forbids")

        return refuse


class XmppStream(XMLStream):
    """Stanzas of one connection, one after the other; it negotiates and answers nothing by itself."""

    def __init__(self, domain: str) -> None:
        super().__init__()
        self.default_ns, self.stream_ns = CLIENT, STREAMS
        self.stream_header = (
            f"<stream:stream to='{domain}' xmlns:stream='{STREAMS}' xmlns='{CLIENT}' xml:lang='en' version='1.0'>"
        )
        self.stream_footer = "</stream:stream>"
        self.why = ""  # it ended; empty while it goes on
        self._waiting: deque[Element] = deque()
        self._news = asyncio.Event()
        self._guard = StreamGuard()
        self._is_paused = False

    # -- what slixmpp calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport, send_event: bool = True) -> None:
        """Begin a stream on a new connection, or on the one that is encrypted now."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._is_paused = False
        self.begin()

    def data_received(self, data: bytes | str) -> None:
        """Take bytes of the server."""
        if self.why or not data:
            return
        assert isinstance(data, bytes)
        try:
            self._guard.feed_untrusted(data)
            super().data_received(data)
            parser = self.parser
            if parser is not None and hasattr(parser, "flush"):  # else expat may keep the end of a stanza back
                parser.flush()
                super().data_received(b"")
        except XmppError as error:
            self.end(str(error))

    def connection_lost(self, exception: BaseException | None) -> None:
        """Note that the connection has ended."""
        self.end(str(exception) if exception else "it closed the connection")

    def abort(self) -> None:
        """Note that the server has ended the stream."""
        self.end("it ended the stream")

    def _spawn_event(self, xml: Element) -> None:
        self._waiting.append(xml)
        self._news.set()
        if len(self._waiting) >= HIGH and not self._is_paused and self.transport is not None:
            self._is_paused = True
            self.transport.pause_reading()

    # -- what the session calls -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a stream anew: after the connection, TLS and the login. Raises XmppError if stanzas wait."""
        if self._waiting:  # sent before TLS, by who can write into the connection, to be read after it
            self._waiting.clear()
            self.end("it sends stanzas where a stream has to begin anew")
            return
        self._guard = StreamGuard()
        self.init_parser()
        self.send_raw(self.stream_header)

    async def next(self) -> Element:
        """Return the next stanza. Raises XmppError when the stream has ended."""
        while not self._waiting:
            if self.why:
                raise XmppError(self.why)
            self._news.clear()
            await self._news.wait()
        element = self._waiting.popleft()
        if self._is_paused and len(self._waiting) <= LOW and self.transport is not None:
            self._is_paused = False
            self.transport.resume_reading()
        return element

    def write(self, element: Element) -> None:
        """Send an element. Raises XmppError when the stream has ended."""
        if self.why or self.transport is None:
            raise XmppError(self.why or "there is no connection")
        self.send_raw(tostring(element, xmlns=self.default_ns, stream=self, top_level=True))

    def end(self, why: str, *, is_orderly: bool = False) -> None:
        """End the connection; the first reason is kept. An orderly end sends what is written, and says so."""
        self.why = self.why or why
        self.parser = None
        transport, self.transport = self.transport, None
        if transport is not None and is_orderly:
            transport.write(self.stream_footer.encode())
            transport.close()
        elif transport is not None:
            transport.abort()
        self._news.set()
