"""The doorway: the door, open or locked, and what passes between clients and authority. asyncio.

The authority's files make its TLS contexts, and each generation is tried before it serves. Challenges, grants and
answers come from the authority and go to clients; what clients ask goes to the authority, and their frames go to the
router.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tlsrt.budget import Budget
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.control.certificate_messages import PairMessage
from tlsrt.channels.control.client_messages import (
    AnsweredMessage,
    ChallengedMessage,
    DelegatedMessage,
    EndedMessage,
    EnrolledMessage,
    GrantedMessage,
    NotEnrolledMessage,
    RefusedMessage,
    RenewedMessage,
)
from tlsrt.channels.control.trust import DoorMessage, OperatorsMessage, ServeMessage, SuccessionMessage
from tlsrt.channels.session.enrolment import PROTOCOL as ENROLMENT
from tlsrt.channels.session.grant import parse_grant_untrusted
from tlsrt.channels.tls.message_stream import PROTOCOL as TLSRT
from tlsrt.loops.door.door import Door, door_limits
from tlsrt.loops.door.enrolment import EnrolmentConnections
from tlsrt.loops.door.issued_certificate import IssuedCertificates
from tlsrt.loops.door.locked_door import LockedDoor, LockIds
from tlsrt.loops.door.tls_contexts import HTTP, PROTOCOLS, DoorContexts
from tlsrt.loops.door.tls_server import TlsServer
from tlsrt.loops.gate.refusals import ClosedConnections, RefusalReporter
from tlsrt.loops.primary.client_requests import ClientRequests
from tlsrt.loops.primary.decoy_reports import DecoyReports
from tlsrt.loops.primary.figures import door_lines
from tlsrt.loops.primary.router import Router
from tlsrt.loops.runtime.process import LoopProcess
from tlsrt.loops.runtime.process_figures import Line

if TYPE_CHECKING:  # only a host with HTTP clients, or a console, loads it
    from tlsrt.channels.tls.message_link import MessageLink
    from tlsrt.channels.tls.message_stream import Framing
    from tlsrt.loops.door.accepted_connection import AcceptedConnection
    from tlsrt.loops.http.connection import HttpServer
    from tlsrt.loops.web.connection import WebServer

WORDS_MAX = 500


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


class Doorway:
    """The door and its backend. `listener` is the door's listening descriptor."""

    def __init__(
        self, process: LoopProcess, router: Router, requests: ClientRequests, decoys: DecoyReports,
        reporter: RefusalReporter, listener: int,
    ) -> None:  # fmt: skip
        self._process = process
        self._requests = requests
        self._router = router
        self._decoy_reports = decoys
        self._decoys = decoys.decoys
        self._reporter = reporter
        self._listener = listener
        self.door: Door | None = None  # made when its certificate has come
        self.locked_door: LockedDoor | None = None  # of a locked host, instead
        self._server: TlsServer | None = None  # with one of them on it
        self._lock: LockIds | None = None
        self._is_open = False
        self._operators: tuple[str, ...] = ()
        self._succession = b""
        self._closed_connections = ClosedConnections()
        self._enrolment = EnrolmentConnections(self)
        self._http = self._http_server()
        self._web = self._web_server()
        self._enrols = process.config.door.client_ca_key is not None
        web_mode = web_certificates(self._http) if self._web is not None else None
        self._issued = IssuedCertificates(issued_mode(web_mode))
        self._contexts = DoorContexts(protocols_of(self._http), has_strangers=self._enrols, web=web_mode)
        of_certificates: Mapping[str, Callable[..., None]] = {
            "door": self._try_files,
            "serve": self._serve,
            "issued": self._take_issued,
            "issued_gone": self._drop_issued,
            "try_issued": partial(self._try_pair, self._issued.try_pair),
            "show_challenge": partial(self._try_pair, self._issued.show_challenge),
            "hide_challenge": lambda message: self._issued.hide_challenge(),
        }
        self.handlers: Mapping[str, Callable[..., None]] = {
            **of_certificates,
            "challenged": self._challenged,
            "granted": self._granted,
            "delegated": self._delegated,
            "renewed": self._renewed,
            "refused": self._refused,
            "answered": self._refused,
            "ended": self._ended,
            "succession": self._succeeded,
            "enrolled": self._enrolled,
            "not_enrolled": self._not_enrolled,
            "operators": self._keep_places,
        }
        self.locked_handlers: Mapping[str, Callable[..., None]] = {
            **of_certificates,
            "challenged": self._challenged_locked,
            "answered": self._answered_locked,
            "refused": self._answered_locked,
            "operators": self._keep_places,
        }

    def figures(self) -> Iterator[Line]:
        """Return what the server has counted that is there now."""
        if self._server is not None:
            yield from door_lines(self._server.counters, self._server.connections, self._server.unauthenticated)

    def _http_server(self) -> HttpServer | None:
        """Load what serves HTTP, if the configuration says so: now, as a sealed process imports nothing."""
        if not self._process.config.serves_http:
            return None
        from tlsrt.loops.http.connection import HttpServer

        return HttpServer(self)

    def _web_server(self) -> WebServer | None:
        """Load the console's page, if the configuration has it, and what serves it: now, likewise."""
        if not self._process.config.door.console:
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

    def stop_listening(self) -> None:
        """Accept no more; connections stay."""
        if self._server is not None:
            self._server.stop_listening()

    async def drain(self, timeout_s: float) -> None:
        """Dismiss all clients, and wait until they are disconnected."""
        if self._server is not None:
            await self._server.drain(timeout_s)

    def report(self) -> None:
        """Tell the authority of connections that ended in disorder. Raises PeerError as the channel does."""
        for entry in self._closed_connections.waiting():
            self._process.trust.send("turned_away", *entry)
            self._closed_connections.forget(entry)

    def block(self, step: str, address: str, for_s: float) -> None:
        """Limit or block an address for a time, or lift that."""
        if self._server is not None:
            self._server.block(step, address, for_s)

    def bytes_moved(self, connection: int) -> tuple[int, int] | None:
        """Return how many bytes came from a client and went to it, if that is known."""
        return None if self.door is None else self.door.bytes_moved(connection)

    # -- its files --------------------------------------------------------------------------------------------

    def _try_files(self, message: DoorMessage, descriptors: list[int]) -> None:
        """Make a context, shake hands with it, and tell how that went. It serves no client before `serve`."""
        problem = self._contexts.make(message.generation, descriptors)
        if problem:
            self._process.log.error("%s", problem)
        self._requests.tell("tried", message.generation, int(not problem), problem[:WORDS_MAX])

    def _serve(self, message: ServeMessage) -> None:
        """Accept with a context that was tried; existing connections keep theirs."""
        contexts = self._contexts.take(message.generation)
        if contexts is None:
            return
        context, strangers, web = contexts
        authorities = context.get_ca_certs(binary_form=True)
        self._enrolment.set_authorities(authorities)
        is_new = self._server is None
        if self._server is None:
            self._server = self._new_server(context, strangers)
            self._tell_operators()
        else:
            self._server.swap_context(context)
            if strangers is not None and self.door is not None:
                self._server.take_strangers(ENROLMENT, self._enrolment.strangers(strangers))
        self._issued.attach(self._server, authorities, web)
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
        self._requests.tell("pair_tried", message.number, problem[:WORDS_MAX])

    def _tell_names(self) -> None:
        for served in (self._http, self._web):
            if served is not None:
                served.set_names((*self._contexts.names, *self._issued.names))

    def _new_server(self, context: ssl.SSLContext, strangers: ssl.SSLContext | None) -> TlsServer:
        """Make the door, open or locked, and the server that it sits on. No client enrols at a locked one."""
        limits, batch = door_limits(self._process.config.door), self._process.batch
        if self._lock is not None:
            self.locked_door = LockedDoor(self, self._lock, batch, self._http, has_web=self._web is not None)
            return TlsServer(context, self.locked_door, limits, self, batch)
        self.door = Door(
            self, limits, batch, http=self._http, succession=self._succession, has_web=self._web is not None
        )
        enrolments = self._enrolment.strangers(strangers) if strangers is not None else None
        return TlsServer(context, self.door, limits, self, batch, strangers=enrolments)

    def _keep_places(self, message: OperatorsMessage) -> None:
        self._operators = tuple(str(each) for each in message.subjects)
        self._tell_operators()

    def _tell_operators(self) -> None:
        if self._server is not None:
            self._server.set_operators(self._operators)

    # -- from the authority to a client -----------------------------------------------------------------------

    def _challenged(self, message: ChallengedMessage) -> None:
        if self.door is not None:
            verifier = self._process.verifier
            self.door.challenged(*message, verifier.install, verifier.boot, boottime_ms())

    def _granted(self, message: GrantedMessage) -> None:
        """Let a connection carry its session. The grant itself is for the client alone: we cannot read it."""
        if self.door is not None and self._carry(message.connection, message.session, message.subject):
            self.door.granted(*message[:6])

    def _delegated(self, message: DelegatedMessage) -> None:
        """Hold the session of a client that cannot seal. Its frames pass the gate like all others."""
        if self.door is None:
            return
        content = parse_grant_untrusted(message.grant)
        if self._carry(message.connection, content.session, content.subject):
            self.door.delegated(message.connection, content)

    def _carry(self, connection: int, session: bytes, subject: str) -> bool:
        """Let frames of this session come by this connection; False if it is closed meanwhile."""
        assert self.door is not None
        certificate = self.door.certificate_hash(connection)
        if not certificate:
            self._requests.tell("close", session)
            return False
        if self._router.add_client(connection, session, certificate, subject):
            self._requests.tell("came_from", session, self.door.address(connection))
        return True

    def _renewed(self, message: RenewedMessage) -> None:
        if self.door is not None:
            self.door.renewed(*message)

    def _refused(self, message: RefusedMessage | AnsweredMessage) -> None:
        if self.door is not None:
            self.door.refused(*message)

    def _ended(self, message: EndedMessage) -> None:
        if self.door is not None:
            for connection, origin in list(self._router.connections.items()):
                if message.session in (origin.session, b""):
                    self.door.close(connection, "ended")

    def _succeeded(self, message: SuccessionMessage) -> None:
        self._succession = message.chain
        if self.door is not None:
            self.door.announce_succession(message.chain)

    def _enrolled(self, message: EnrolledMessage) -> None:
        self._enrolment.enrolled(*message)

    def _not_enrolled(self, message: NotEnrolledMessage) -> None:
        self._enrolment.not_enrolled(message.connection)

    def _challenged_locked(self, message: ChallengedMessage) -> None:
        if self.locked_door is not None:
            self.locked_door.challenged(*message, boottime_ms())

    def _answered_locked(self, message: RefusedMessage | AnsweredMessage) -> None:
        if self.locked_door is not None:
            self.locked_door.answered(*message)

    # -- browsers ---------------------------------------------------------------------------------------------

    @property
    def web_protocols(self) -> tuple[str, ...]:
        """What a browser may speak now: no client enrols at a locked host."""
        enrols = self._enrols and self._lock is None
        return (subprotocol(TLSRT), subprotocol(ENROLMENT)) if enrols else (subprotocol(TLSRT),)

    def on_web_request(self, address: str, path: str, authorization: str, *, is_foreign: bool) -> None:
        if path.strip("/") != "console":  # a decoy elsewhere; people who look for the console type it
            self._decoys.check_request(path, authorization, b"", address, is_foreign=is_foreign)

    def speak(self, client: AcceptedConnection, protocol: str, framing: Framing) -> MessageLink:
        """Speak one of these with a browser that has its WebSocket."""
        if protocol == subprotocol(ENROLMENT):
            return self._enrolment.welcome(client, "", framing)
        if self.door is not None:
            return self.door.on_upgraded(client, framing)
        assert self.locked_door is not None
        return self.locked_door.speak(client, framing)

    # -- from a client ----------------------------------------------------------------------------------------

    def ask(self, name: str, connection: int, *fields: Any) -> None:
        if self.door is not None:
            if name == "challenge":
                self._decoys.check_client(self.door.certificate(connection), self.door.address(connection))
            elif name == "delegate":
                self._decoys.check_client(fields[0], self.door.address(connection))
            elif name == "open" and self.door.note_open_untrusted(connection, fields[0]):
                self._decoys.check_client(self.door.certificate(connection), self.door.address(connection))
        if name == "delegate" and self._lock is not None:
            return  # the locked door has its answer ready
        self._requests.ask(name, connection, *fields)

    def frame(self, connection: int, frame: bytes) -> str:
        return self._router.forward_client(connection, frame)

    def on_http_request(self, connection: int, target: str, authorization: str, *, is_foreign: bool) -> None:
        origin = self._router.connections.get(connection)
        session, address = origin.session if origin else b"", self.door.address(connection) if self.door else ""
        self._decoys.check_request(target, authorization, session, address, is_foreign=is_foreign)

    def on_closed(self, connection: int) -> None:
        session = self._router.remove_client(connection)
        if session:
            # First, while the authority knows the session: leaving at once is no escape, and nor is a full channel.
            self._decoy_reports.report(self._requests.tell)
            self._requests.tell("close", session)

    def on_refused(self, address: str, word: str) -> None:
        self._closed_connections.note(address, word)
        self._process.refusals.say(f"door: {word} from {address}")

    def on_over_places(self, client: str) -> None:
        self._reporter.over_budget(client, Budget.PLACES)
        self._process.refusals.say(f"door: {client} has used up its share of the connections")

    def on_offence(self, key: str, connection: int, word: str) -> None:
        if self._lock is None:
            self._reporter.door(key, self._router.connections.get(connection), word)
