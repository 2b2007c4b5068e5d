"""A browser without a certificate at the door: it gets files of the page, and may ask for a WebSocket. asyncio.

Until then it can reach nothing but memory of this process: no component, no authority, no file. After the upgrade it is
a client as any other, whose payloads are framed by websocket.py, and it has no more rights than its open proves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Protocol

from tlsrt.channels.tls.connection import Handler
from tlsrt.channels.tls.message_link import MessageLink
from tlsrt.channels.tls.message_stream import Framing
from tlsrt.loops.door.accepted_connection import AcceptedConnection
from tlsrt.loops.door.service import UnauthenticatedHandlers
from tlsrt.loops.door.tls_contexts import HTTP
from tlsrt.loops.http.site import HostNames
from tlsrt.loops.web.files import PageFiles, file_answer, refusal_answer, upgrade_answer
from tlsrt.loops.web.request import FileRequest, UpgradeRequest, WebRefusal, head_untrusted, request_untrusted
from tlsrt.loops.web.websocket import WebSocketFraming, accept_key
from tlsrt.rate_limit import Buckets

REQUEST_S = 10.0  # for a request to arrive whole, the first one or another
READ_S = 30.0  # for an answer to be read: 256 KiB in that time are 9 KiB/s
REQUESTS_MAX = 64  # on one connection: a browser that needs more connects again
RATE_S, BURST = 50.0, 800.0  # requests of one address; a page has some seventy files, and a home one address


class WebOwner(Protocol):
    """Who speaks with a browser once it has its WebSocket."""

    @property
    def web_protocols(self) -> Collection[str]:
        """The subprotocols that there are now."""

    def on_web_request(self, address: str, path: str, authorization: str, *, is_foreign: bool) -> None:
        """A browser at this address asks for a path; whatever this finds, the answer is the same."""

    def speak(self, client: AcceptedConnection, protocol: str, framing: Framing) -> MessageLink:
        """Speak one of them with a browser. PeerError ends the connection."""


class WebServer:
    """Makes the handlers of browsers, and holds what they share."""

    def __init__(self, owner: WebOwner, files: PageFiles) -> None:
        self.owner = owner
        self.files = files
        self.names = HostNames()
        self.rates = Buckets(BURST, RATE_S)

    def set_names(self, names: Iterable[str]) -> None:
        """Be the host of these names from now on: those of its certificates."""
        self.names = HostNames(names)

    def strangers(self) -> UnauthenticatedHandlers:
        """Return how a server takes browsers."""
        return UnauthenticatedHandlers(HTTP, None, self._welcome)

    def _welcome(self, client: AcceptedConnection, word: str) -> Handler:
        connection = WebConnection(client, self)
        if word:
            client.connection.fail("too_many_strangers")
        return connection


class WebConnection:
    """The handler of one browser."""

    def __init__(self, client: AcceptedConnection, server: WebServer) -> None:
        self._client = client
        self._server = server
        self._held = bytearray()
        self._requests = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(REQUEST_S, self._too_slow)
        self._link: MessageLink | None = None  # once it has a WebSocket
        self._framing = WebSocketFraming(1)

    def received_untrusted(self, data: bytes) -> None:
        if self._link is not None:
            self._pass_on(self._link, data)
            return
        self._held += data
        try:
            head = head_untrusted(self._held)
            if head is not None:
                self._take(head)
        except WebRefusal as refusal:
            self._refuse(refusal)

    def lost(self, reason: str) -> None:
        self._timer.cancel()
        if self._link is not None:
            self._link.lost(reason)

    # -- requests ----------------------------------------------------------------------------------------------

    def _take(self, head: bytes) -> None:
        """Answer one request. Browsers send the next one when they have read the answer, so more is a fault."""
        if len(self._held) > len(head) + 2 or self._client.connection.waiting:
            raise WebRefusal(400, "send one request at a time, and no body", is_fault=True)
        self._held.clear()
        self._client.on_asked()
        self._requests += 1
        if not self._server.rates.take(self._client.key, self._loop.time()):
            raise WebRefusal(429, "too many requests: wait a few seconds")
        request = request_untrusted(head, self._server.names, self._server.owner.web_protocols)
        if isinstance(request, UpgradeRequest):
            self._upgrade(request)
        else:
            self._send_file(request)

    def _send_file(self, request: FileRequest) -> None:
        self._server.owner.on_web_request(
            self._client.address, request.path, request.authorization, is_foreign=request.is_foreign
        )
        file = self._server.files.find(request.path)
        if file is None:
            raise WebRefusal(404, "there is no such file")
        keeps = request.keeps and self._requests < REQUESTS_MAX
        answer = file_answer(file, request.tags, takes_gzip=request.takes_gzip, is_head=request.is_head, keeps=keeps)
        self._client.connection.write(answer)
        if keeps:
            self._timer.cancel()
            self._timer = self._loop.call_later(READ_S, self._too_slow)
        else:
            self._client.connection.close("closed_web")

    def _refuse(self, refusal: WebRefusal) -> None:
        connection = self._client.connection
        connection.write(refusal_answer(refusal.status, refusal.sentence))
        if refusal.is_fault:
            connection.fail("web_garbage")
        else:
            connection.close(f"closed_web_{refusal.status}")

    def _too_slow(self) -> None:
        """A request, or the reading of an answer, took too long; or there was none any more."""
        connection = self._client.connection
        if connection.waiting:
            connection.abort("slow_reader")
        elif self._held:
            connection.write(refusal_answer(408, f"a request must arrive in {REQUEST_S:g} s"))
            connection.fail("web_slow")
        else:
            connection.close("idle")

    # -- WebSocket ---------------------------------------------------------------------------------------------

    def _upgrade(self, request: UpgradeRequest) -> None:
        self._timer.cancel()
        self._client.connection.write(upgrade_answer(accept_key(request.key), request.protocol))
        self._link = self._server.owner.speak(self._client, request.protocol, self._framing)
        if self._client.connection.ended:  # it was refused at once
            self._link.lost(self._client.connection.ended)

    def _pass_on(self, link: MessageLink, data: bytes) -> None:
        link.received_untrusted(data)
        connection = self._client.connection
        reply = self._framing.take_reply()
        if reply:
            connection.write(reply)
        if self._framing.is_closed and not connection.ended:
            link.finish()
            connection.close("closed_by_peer")
