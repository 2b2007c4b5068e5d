"""The doorway: what passes between the door's clients, the authority and the gate. asyncio.

Challenges, grants and answers come from the authority and go to clients; what clients ask goes to the authority, and
their frames go to the router. The door itself, with its server and its certificates, is loops/doorway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tlsrt.budget import Budget
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
from tlsrt.channels.control.trust import OperatorsMessage, SuccessionMessage
from tlsrt.channels.session.grant import parse_grant_untrusted
from tlsrt.loops.door.locked_door import LockIds
from tlsrt.loops.doorway.front import ClientsFront, DoorFront
from tlsrt.loops.doorway.served_door import ServedBackend
from tlsrt.loops.gate.refusals import ClosedConnections, RefusalReporter
from tlsrt.loops.primary.client_requests import ClientRequests
from tlsrt.loops.primary.decoy_reports import DecoyReports
from tlsrt.loops.primary.router import Router
from tlsrt.loops.runtime.process import LoopProcess
from tlsrt.loops.runtime.process_figures import Line


class Doorway:
    """The backend of the door, which `make_door` makes: in this process, or in one of its own."""

    def __init__(
        self, process: LoopProcess, router: Router, requests: ClientRequests, decoys: DecoyReports,
        reporter: RefusalReporter, make_door: Callable[[ServedBackend], DoorFront],
    ) -> None:  # fmt: skip
        self._process = process
        self._requests = requests
        self._router = router
        self._decoy_reports = decoys
        self._decoys = decoys.decoys
        self._reporter = reporter
        self._is_locked = False
        self._closed_connections = ClosedConnections()
        self.served = make_door(self)
        self.handlers: Mapping[str, Callable[..., None]] = {
            **self.served.handlers,
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
            **self.served.handlers,
            "challenged": self._challenged,
            "answered": self._refused,
            "refused": self._refused,
            "operators": self._keep_places,
        }

    @property
    def door(self) -> ClientsFront | None:
        """The door of a host that is not locked, once it has a certificate."""
        return self.served.door

    def figures(self) -> Iterator[Line]:
        """Return what the server has counted that is there now."""
        yield from self.served.figures()

    # -- its life ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Accept from now on, as soon as there is a certificate."""
        self.served.open()

    def lock(self, lock: LockIds) -> None:
        """Tell every client that the host is locked, from the certificate on that comes next."""
        self._is_locked = True
        self.served.lock(lock)

    def stop_listening(self) -> None:
        """Accept no more; connections stay."""
        self.served.stop_listening()

    async def drain(self, timeout_s: float) -> None:
        """Dismiss all clients, and wait until they are disconnected."""
        await self.served.drain(timeout_s)

    def report(self) -> None:
        """Tell the authority of connections that ended in disorder. Raises PeerError as the channel does."""
        for entry in self._closed_connections.waiting():
            self._process.trust.send("turned_away", *entry)
            self._closed_connections.forget(entry)

    def block(self, step: str, address: str, for_s: float) -> None:
        """Limit or block an address for a time, or lift that."""
        self.served.block(step, address, for_s)

    def bytes_moved(self, connection: int) -> tuple[int, int] | None:
        """Return how many bytes came from a client and went to it, if that is known."""
        return None if self.door is None else self.door.bytes_moved(connection)

    # -- from the authority to a client -----------------------------------------------------------------------

    def _keep_places(self, message: OperatorsMessage) -> None:
        self.served.set_operators([str(each) for each in message.subjects])

    def _challenged(self, message: ChallengedMessage) -> None:
        verifier = self._process.verifier
        self.served.challenged(*message, verifier.install, verifier.boot)

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
            self.served.delegated(message.connection, content)

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
        self.served.refused(*message)

    def _ended(self, message: EndedMessage) -> None:
        if self.door is not None:
            for connection, origin in list(self._router.connections.items()):
                if message.session in (origin.session, b""):
                    self.door.close(connection, "ended")

    def _succeeded(self, message: SuccessionMessage) -> None:
        self.served.announce_succession(message.chain)

    def _enrolled(self, message: EnrolledMessage) -> None:
        self.served.enrolment.enrolled(*message)

    def _not_enrolled(self, message: NotEnrolledMessage) -> None:
        self.served.enrolment.not_enrolled(message.connection)

    # -- from a client ----------------------------------------------------------------------------------------

    def on_client(self, connection: int, address: str, certificate: bytes) -> None:
        """Note nothing: the door is asked when it matters."""

    def ask(self, name: str, connection: int, *fields: Any) -> None:
        if self.door is not None:
            if name == "challenge":
                self._decoys.check_client(self.door.certificate(connection), self.door.address(connection))
            elif name == "delegate":
                self._decoys.check_client(fields[0], self.door.address(connection))
            elif name == "open" and self.door.note_open_untrusted(connection, fields[0]):
                self._decoys.check_client(self.door.certificate(connection), self.door.address(connection))
        if name == "delegate" and self._is_locked:
            return  # the locked door has its answer ready
        self._requests.ask(name, connection, *fields)

    def frame(self, connection: int, frame: bytes) -> str:
        return self._router.forward_client(connection, frame)

    def on_http_request(self, connection: int, target: str, authorization: str, *, is_foreign: bool) -> None:
        origin = self._router.connections.get(connection)
        session, address = origin.session if origin else b"", self.door.address(connection) if self.door else ""
        self._decoys.check_request(target, authorization, session, address, is_foreign=is_foreign)

    def on_web_request(self, address: str, path: str, authorization: str, *, is_foreign: bool) -> None:
        if path.strip("/") != "console":  # a decoy elsewhere; people who look for the console type it
            self._decoys.check_request(path, authorization, b"", address, is_foreign=is_foreign)

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
        if not self._is_locked:
            self._reporter.door(key, self._router.connections.get(connection), word)
