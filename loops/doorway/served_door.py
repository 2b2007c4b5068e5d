"""The served door: the TLS server of the host, open or locked, and all that speaks on its connections. asyncio.

It makes its TLS contexts of the authority's files, and each generation is tried before it serves. It holds the key of
the door and the sessions of clients for HTTP, and parses what strangers send. Whatever clients ask goes to the backend,
which knows sessions and rights: in the same process, or in another one.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.control.certificate_messages import PairMessage
from tlsrt.channels.control.trust import DoorMessage, ServeMessage
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.enrolment import PROTOCOL as ENROLMENT
from tlsrt.channels.session.grant import GrantContent
from tlsrt.channels.tls.message_stream import PROTOCOL as TLSRT
from tlsrt.config.schema import Config
from tlsrt.loops.door.backend import DoorBackend
from tlsrt.loops.door.door import Door, door_limits
from tlsrt.loops.door.enrolment import EnrolmentConnections
from tlsrt.loops.door.issued_certificate import IssuedCertificates
from tlsrt.loops.door.locked_door import LockedDoor, LockIds
from tlsrt.loops.door.tls_contexts import HTTP, PROTOCOLS, Contexts, DoorContexts
from tlsrt.loops.door.tls_server import TlsServer
from tlsrt.loops.doorway.figures import door_lines
from tlsrt.loops.runtime.process_figures import Line

if TYPE_CHECKING:  # only a host with HTTP clients, or a console, loads it
    from tlsrt.channels.tls.message_link import MessageLink
    from tlsrt.channels.tls.message_stream import Framing
    from tlsrt.loops.door.accepted_connection import AcceptedConnection
    from tlsrt.loops.http.connection import HttpServer
    from tlsrt.loops.web.connection import WebServer

WORDS_MAX = 500


class ServedBackend(DoorBackend, Protocol):
    """What stands behind the door, and hears of browsers too."""

    def on_web_request(self, address: str, path: str, authorization: str, *, is_foreign: bool) -> None:
        """A browser at this address asks for a path; whatever this finds, the answer is the same."""


def protocols_of(http: HttpServer | None) -> tuple[str, ...]:
    """Return the ALPN names of the door: no client for HTTP, no HTTP."""
    return PROTOCOLS if http is None else (*PROTOCOLS, HTTP)


def web_certificates(http: HttpServer | None) -> ssl.VerifyMode:
    """Return what a browser is asked for at a host with a console: nothing, unless there are clients for HTTP.

    They and browsers offer the same, so both are asked, and who has no certificate is a browser.
    """
    return ssl.CERT_NONE if http is None else ssl.CERT_OPTIONAL


def subprotocol(protocol: str) -> str:
    """Return the name that a protocol has in a WebSocket, which may have no slash (RFC 6455, 4.1: a token)."""
    return protocol.replace("/", ".")


def issued_mode(web: ssl.VerifyMode | None) -> ssl.VerifyMode:
    """Return what a client is asked for where a CA's certificate is shown: the same, and without a console its own."""
    return ssl.CERT_REQUIRED if web is None else web


class ServedDoor:
    """The door on its server. `tell` says to the authority how files were tried; `listener` is where to accept."""

    def __init__(
        self, config: Config, backend: ServedBackend, batch: WriteBatch, log: logging.Logger,
        tell: Callable[..., None], listener: int, numbers: Iterator[int] | None = None,
    ) -> None:  # fmt: skip
        """Without `numbers` of connections it serves as soon as it has a certificate; else from `begin` to `end`."""
        self._config = config
        self._backend = backend
        self._batch = batch
        self._log = log
        self._tell = tell
        self._listener = listener
        self.door: Door | None = None  # made when its certificate has come
        self.locked_door: LockedDoor | None = None  # of a locked host, instead
        self._server: TlsServer | None = None  # with one of them on it
        self._lock: LockIds | None = None
        self._numbers = numbers
        self._may_serve = numbers is None
        self._present: Contexts | None = None  # what it serves with
        self._is_open = False
        self._operators: tuple[str, ...] = ()
        self._succession = b""
        self.enrolment = EnrolmentConnections(backend)
        self._http = self._http_server()
        self._web = self._web_server()
        self._enrols = config.door.client_ca_key is not None
        web_mode = web_certificates(self._http) if self._web is not None else None
        self._issued = IssuedCertificates(issued_mode(web_mode))
        self._contexts = DoorContexts(protocols_of(self._http), has_strangers=self._enrols, web=web_mode)
        self.handlers: Mapping[str, Callable[..., None]] = {  # of what the authority says of certificates
            "door": self._try_files,
            "serve": self._serve,
            "issued": self._take_issued,
            "issued_gone": self._drop_issued,
            "try_issued": partial(self._try_pair, self._issued.try_pair),
            "show_challenge": partial(self._try_pair, self._issued.show_challenge),
            "hide_challenge": lambda message: self._issued.hide_challenge(),
        }

    def figures(self) -> Iterator[Line]:
        """Return what the server has counted that is there now."""
        if self._server is not None:
            yield from door_lines(self._server.counters, self._server.connections, self._server.unauthenticated)

    def _http_server(self) -> HttpServer | None:
        """Load what serves HTTP, if the configuration says so: now, as a sealed process imports nothing."""
        if not self._config.serves_http:
            return None
        from tlsrt.loops.http.connection import HttpServer

        return HttpServer(self._backend)

    def _web_server(self) -> WebServer | None:
        """Load the console's page, if the configuration has it, and what serves it: now, likewise."""
        if not self._config.door.console:
            return None
        from tlsrt.config.console_page import read_page
        from tlsrt.loops.web.connection import WebServer
        from tlsrt.loops.web.files import PageFiles

        return WebServer(self, PageFiles(read_page()))

    # -- its life ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Accept from now on, as soon as there is a certificate."""
        self._is_open = True
        if self._server is not None:
            self._server.listen(self._listener)

    def lock(self, lock: LockIds) -> None:
        """Tell every client that the host is locked, from the certificate on that comes next."""
        self._lock = lock

    def begin(self, lock: LockIds | None) -> None:
        """Serve from now on, as soon as there is a certificate; open or locked."""
        self._lock, self._may_serve = lock, True
        if self._present is not None:
            self._serve_with(self._present)

    def end(self) -> TlsServer | None:
        """Serve no more, until `begin`; return the server, whose connections are to be cut."""
        server, self._server, self.door, self.locked_door = self._server, None, None, None
        self._may_serve = self._is_open = False
        self._succession = b""
        if server is not None:
            server.stop_listening()
        return server

    def stop_listening(self) -> None:
        """Accept no more; connections stay."""
        if self._server is not None:
            self._server.stop_listening()

    async def drain(self, timeout_s: float) -> None:
        """Dismiss all clients, and wait until they are disconnected."""
        if self._server is not None:
            await self._server.drain(timeout_s)

    def block(self, step: str, address: str, for_s: float) -> None:
        """Limit or block an address for a time, or lift that."""
        if self._server is not None:
            self._server.block(step, address, for_s)

    # -- its files --------------------------------------------------------------------------------------------

    def _try_files(self, message: DoorMessage, descriptors: list[int]) -> None:
        """Make a context, shake hands with it, and tell how that went. It serves no client before `serve`."""
        problem = self._contexts.make(message.generation, descriptors)
        if problem:
            self._log.error("%s", problem)
        self._tell("tried", message.generation, int(not problem), problem[:WORDS_MAX])

    def _serve(self, message: ServeMessage) -> None:
        """Accept with a context that was tried; existing connections keep theirs."""
        contexts = self._contexts.take(message.generation)
        if contexts is None:
            return
        self._present = contexts
        self.enrolment.set_authorities(contexts.clients.get_ca_certs(binary_form=True))
        if self._may_serve:
            self._serve_with(contexts)

    def _serve_with(self, contexts: Contexts) -> None:
        context, strangers, web = contexts
        is_new = self._server is None
        if self._server is None:
            self._server = self._new_server(context, strangers)
            self._tell_operators()
        else:
            self._server.swap_context(context)
            if strangers is not None and self.door is not None:
                self._server.take_strangers(ENROLMENT, self.enrolment.strangers(strangers))
        self._issued.attach(self._server, context.get_ca_certs(binary_form=True), web)
        self._tell_names()
        if is_new and self._web is not None:
            self._server.take_strangers(HTTP, self._web.strangers())
        if is_new and self._is_open:
            self.open()

    # -- the certificate of a CA, beside them -----------------------------------------------------------------

    def _take_issued(self, message: PairMessage, descriptors: list[int]) -> None:
        self._issued.set(message.number, *descriptors)
        self._tell_names()

    def _drop_issued(self, message: object) -> None:
        self._issued.clear()
        self._tell_names()

    def _try_pair(self, attempt: Callable[[int, int], str], message: PairMessage, descriptors: list[int]) -> None:
        problem = attempt(*descriptors)
        self._tell("pair_tried", message.number, problem[:WORDS_MAX])

    def _tell_names(self) -> None:
        for served in (self._http, self._web):
            if served is not None:
                served.set_names((*self._contexts.names, *self._issued.names))

    def _new_server(self, context: ssl.SSLContext, strangers: ssl.SSLContext | None) -> TlsServer:
        """Make the door, open or locked, and the server that it sits on. No client enrols at a locked one."""
        limits, batch, has_web = door_limits(self._config.door), self._batch, self._web is not None
        if self._lock is not None:
            self.locked_door = LockedDoor(self._backend, self._lock, batch, self._http, has_web=has_web)
            return TlsServer(context, self.locked_door, limits, self._backend, batch, numbers=self._numbers)
        self.door = Door(self._backend, limits, batch, http=self._http, succession=self._succession, has_web=has_web)
        enrolments = self.enrolment.strangers(strangers) if strangers is not None else None
        return TlsServer(context, self.door, limits, self._backend, batch, strangers=enrolments, numbers=self._numbers)

    def set_operators(self, subjects: Sequence[str]) -> None:
        """Keep some places for these clients, which may lock or unlock the host."""
        self._operators = tuple(subjects)
        self._tell_operators()

    def _tell_operators(self) -> None:
        if self._server is not None:
            self._server.set_operators(self._operators)

    # -- to clients -------------------------------------------------------------------------------------------

    def announce_succession(self, chain: bytes) -> None:
        """Tell every client, and those to come, which issuer keys follow which."""
        self._succession = chain
        if self.door is not None:
            self.door.announce_succession(chain)

    def challenged(self, connection: int, challenge: bytes, install: bytes, boot: bytes) -> None:
        """Pass the authority's challenge on."""
        if self.door is not None:
            self.door.challenged(connection, challenge, install, boot, boottime_ms())
        elif self.locked_door is not None:
            self.locked_door.challenged(connection, challenge, boottime_ms())

    def delegated(self, connection: int, content: GrantContent) -> None:
        """Give an HTTP client's connection its session, or a new grant of it."""
        if self.door is not None:
            self.door.delegated(connection, content)

    def refused(self, connection: int, word: str) -> None:
        """Tell a client one word why it gets no session, or what became of its lock or unlock."""
        if self.door is not None:
            self.door.refused(connection, word)
        elif self.locked_door is not None:
            self.locked_door.answered(connection, word)

    # -- browsers ---------------------------------------------------------------------------------------------

    @property
    def web_protocols(self) -> tuple[str, ...]:
        """What a browser may speak now: no client enrols at a locked host."""
        enrols = self._enrols and self._lock is None
        return (subprotocol(TLSRT), subprotocol(ENROLMENT)) if enrols else (subprotocol(TLSRT),)

    def on_web_request(self, address: str, path: str, authorization: str, *, is_foreign: bool) -> None:
        self._backend.on_web_request(address, path, authorization, is_foreign=is_foreign)

    def speak(self, client: AcceptedConnection, protocol: str, framing: Framing) -> MessageLink:
        """Speak one of these with a browser that has its WebSocket."""
        if protocol == subprotocol(ENROLMENT):
            return self.enrolment.welcome(client, "", framing)
        if self.door is not None:
            return self.door.on_upgraded(client, framing)
        assert self.locked_door is not None
        return self.locked_door.speak(client, framing)
