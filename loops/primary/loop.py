"""The Primary loop: every other loop's process, plus the gate and the door.

All frames of the host pass `forward`: they come from a link (one per loop, its origin known by the socket), from the
door (one origin per TLS connection) or from Primary's own components, and the gate says where they go. Primary holds
K_gate and the mailbox roots of its own components, and nothing else.

Of a locked host it gets the door's certificate and no key: it carries no frame, starts no component, and tells whoever
comes that the host is locked. Such a process never gets keys; the unlocked host has another one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.control.life import LoopState
from tlsrt.channels.control.telemetry import pack_rows
from tlsrt.channels.links.channel import PrimaryChannel
from tlsrt.channels.links.gate_link import GateLink
from tlsrt.channels.session.grant import parse_grant_untrusted
from tlsrt.errors import Busy, PeerError
from tlsrt.loops.door.closed_connections import ClosedConnections
from tlsrt.loops.door.door import HTTP, Door, ServeHttp, door_limits
from tlsrt.loops.door.enrolment import EnrolmentConnections
from tlsrt.loops.door.locked_door import LockedDoor
from tlsrt.loops.door.server_context import PROTOCOLS
from tlsrt.loops.door.tarpit import Tarpit, TarpitLimits
from tlsrt.loops.door.tls_contexts import DoorContexts
from tlsrt.loops.gate.decoys import Decoys
from tlsrt.loops.gate.frame_rate import FrameRates
from tlsrt.loops.gate.gate import Gate, refusal_word
from tlsrt.loops.gate.refusals import ADDRESS
from tlsrt.loops.gate.reporter import RefusalReporter
from tlsrt.loops.gate.state import GateVerdict, Origin
from tlsrt.loops.primary.decoy_reports import DecoyReports
from tlsrt.loops.primary.events import Events
from tlsrt.loops.primary.telemetry import Telemetry
from tlsrt.loops.runtime.health import HealthChecks
from tlsrt.loops.runtime.process import LoopProcess
from tlsrt.rate_limit import Bucket

DOOR = "door"
DECOY = "decoy"
WORDS_MAX = 500
GOODBYE_SHARE = 0.3  # of the time for draining, kept for saying goodbye to clients
DRAIN_LOOK_S = 0.005  # between two looks whether the last answer has passed
GATE = "gate"  # whose refusals have a place of their own in queues


def protocols_of(serve_http: ServeHttp | None) -> tuple[str, ...]:
    """Return the ALPN names of the door: no client for HTTP, no HTTP."""
    return PROTOCOLS if serve_http is None else (*PROTOCOLS, HTTP)


class PrimaryLoop(LoopProcess):
    """Routes for everybody; trusted by nobody beyond that."""

    _is_hearing = False  # the authority's messages are being taken
    on_said: dict[str, Callable[[list[Any], list[int]], None]]  # messages of the authority that parts of us wait for

    async def open_channel(self) -> None:
        self.monitor = self
        self.on_said = {}
        self.gate = Gate(
            self.verifier, calls_per_session=self.config.limits.calls_per_session,
            decoys=Decoys(self.config.deception),
        )  # fmt: skip
        self._forwarded = 0
        self._own = Origin(self.name, charge=self.name)
        self._connections: dict[int, Origin] = {}
        self._rates = FrameRates(self.config.limits.frames_per_s, self.config.limits.frames_per_s_of)
        self._links: dict[str, GateLink] = {}
        self.channel = PrimaryChannel(lambda frame: self.forward(frame, self._own))
        for loop, descriptor in self.listeners.items():
            if loop not in (DOOR, DECOY):
                self._links[loop] = self._listen(loop, descriptor)
        self._turned_away = ClosedConnections()
        self._telemetry = Telemetry(self._bytes_moved)
        self.decoy_watch = DecoyReports(self.gate, self._own, self.hosts, self._trust.send)
        self.on_said["try_decoy"] = self.decoy_watch.on_try
        self.on_said["canaries"] = self.decoy_watch.on_canaries
        endpoint = self.config.deception.endpoint
        limits = TarpitLimits(endpoint.max_connections, endpoint.max_per_address) if endpoint else None
        self._tarpit = Tarpit(self.gate.decoys.look_at_stranger, limits) if limits else None
        self.reporter = RefusalReporter(lambda rows: self._trust.send("offences", rows))
        self.door: Door | None = None  # made when its certificate has come
        self.locked_door: LockedDoor | None = None  # of a locked host, instead
        self._succession = b""
        self._enrol = EnrolmentConnections(lambda *asked: self._trust.send("enrol", *asked))
        self.on_said["enrolled"] = lambda fields, descriptors: self._enrol.enrolled(*fields)
        self.on_said["not_enrolled"] = lambda fields, descriptors: self._enrol.refused(*fields)
        self._serve_http = self._http_server()
        self._contexts = DoorContexts(
            protocols_of(self._serve_http), has_strangers=self.config.door.client_ca_key is not None
        )

    def _http_server(self) -> ServeHttp | None:
        """Load what serves HTTP, if the configuration says so: now, as a sealed process imports nothing."""
        if not self.config.serves_http:
            return None
        from tlsrt.loops.http.connection import HttpConnection
        from tlsrt.loops.http.fair_scheduler import FairScheduler

        heavy = FairScheduler()
        return lambda connection, number, note: HttpConnection(connection, number, self, note, heavy)

    def _listen(self, loop: str, descriptor: int) -> GateLink:
        origin = Origin(loop, charge=loop)
        link = GateLink(
            self.batch, lambda frame: self.forward(frame, origin), partial(self._refused_link, loop),
            queue_max=self.config.limits.queue_frames,
        )  # fmt: skip
        link.listen(descriptor)
        return link

    def _refused_link(self, loop: str, reason: str) -> None:
        """Something came over a loop's channel that is no frame at all."""
        self.note_refused(reason)
        self.reporter.link(loop, reason)

    # -- the authority's words --------------------------------------------------------------------------------

    def _on_trust(self) -> None:
        self._is_hearing = True
        try:
            super()._on_trust()
        finally:
            self._is_hearing = False

    def catch_up(self) -> bool:
        """Take what the authority has said by now; return False if that is what we are doing anyway.

        What others were told after us may reach us before we have read what we were told.
        """
        if self._is_hearing:
            return False
        self._on_trust()
        return True

    def set_root(self, epoch: int, incarnation: int, root: bytes) -> None:
        self.gate.set_root(epoch, incarnation, root)

    def drop_epoch(self, epoch: int) -> None:
        self.gate.drop_epoch(epoch)

    def on_message(self, name: str, fields: list[Any], descriptors: list[int]) -> None:
        """Apply what the authority tells Primary only."""
        if name == "door":
            self._try_certificate(fields[0], descriptors)
        elif name == "serve":
            self._serve_with(fields[0])
        elif name == "locked":
            self._lock(*fields)
        elif self.is_locked:
            self._on_locked_message(name, fields)
        elif name == "member":
            self.gate.set_loop(*fields)
        elif name == "succession":
            self._succession = fields[0]
            if self.door is not None:
                self.door.announce_succession(self._succession)
        elif name == "events":
            self._publish(fields[0])
        elif name == "shut_out":
            self._shut_out(*fields)
        elif name in self.on_said:
            self.on_said[name](fields, descriptors)
        elif self.door is not None:
            self._on_client_message(self.door, name, fields)

    def _lock(self, install: bytes, boot: bytes, lock: bytes, epoch: int) -> None:
        """Serve the door of a locked host from now on, and nothing else. `epoch` is only what our beats say."""
        if self.verifier.epochs:
            raise PeerError("locked_with_keys")
        self.is_locked = self.trustee.is_locked = True
        self.locked_as = (install, boot, lock)
        self.trustee.committed = epoch
        for link in self._links.values():
            link.close()
        self._links.clear()
        self.hosts.clear()
        self.health = HealthChecks(())

    def _on_locked_message(self, name: str, fields: list[Any]) -> None:
        """Apply what the authority tells the Primary of a locked host."""
        door = self.locked_door
        if name == "challenged" and door is not None:
            door.challenged(fields[0], fields[1], boottime_ms())
        elif name in ("answered", "refused") and door is not None:
            door.answered(*fields)
        elif name not in ("member", "ended"):  # which may have been on their way
            raise PeerError(f"{name}_while_locked")

    def _publish(self, lines: list[Any]) -> None:
        """Give the host's events to our component for them, if it was not switched off."""
        for host in self.hosts.values():
            if isinstance(host.component, Events):
                host.component.take(lines)
        try:
            self._trust.send("took_events")
        except PeerError as error:
            if error.reason != "hung":  # then there are no more events; the authority is judged by others
                raise

    def _on_client_message(self, door: Door, name: str, fields: list[Any]) -> None:
        if name == "challenged":
            connection, challenge = fields
            door.challenged(connection, challenge, self.verifier.install, self.verifier.boot, boottime_ms())
        elif name == "granted":
            self._granted(door, *fields)
        elif name == "lent":
            self._lent(door, *fields)
        elif name == "renewed":
            door.renewed(*fields)
        elif name in ("refused", "answered"):
            door.refused(*fields)
        elif name == "ended":
            for connection, origin in list(self._connections.items()):
                if fields[0] in (origin.session, b""):
                    door.close(connection, "ended")
        else:
            raise PeerError("unknown_message")

    def _granted(
        self, door: Door, connection: int, number: int, ciphertext: bytes, signature: bytes, session: bytes,
        subject: str, token: bytes,
    ) -> None:  # fmt: skip
        """Let a connection carry its session. The grant itself is for the client alone: we cannot read it."""
        certificate = door.certificate_hash(connection)
        if not certificate:
            self._trust.send("close", session)  # it has gone meanwhile
            return
        self._carry(door, connection, session, certificate, subject)
        door.granted(connection, number, ciphertext, signature, session, subject)

    def _carry(self, door: Door, connection: int, session: bytes, certificate: bytes, subject: str) -> None:
        """From now on frames of this session come by this connection; the operator's list says from where."""
        if connection in self._connections:
            return
        rate = self._rates.of(subject)
        self._connections[connection] = Origin("", connection, session, certificate, charge=subject, rate=rate)
        try:
            self._trust.send("came_from", session, door.address(connection))
        except PeerError:
            return  # an authority that is busy or away misses it; whether it is there at all is found out elsewhere

    def _lent(self, door: Door, connection: int, grant: bytes) -> None:
        """Hold the session of a client that cannot seal. Its frames pass the gate like everybody's."""
        content = parse_grant_untrusted(grant)
        certificate = door.certificate_hash(connection)
        if not certificate:
            self._trust.send("close", content.session)  # it has gone meanwhile
            return
        self._carry(door, connection, content.session, certificate, content.subject)
        door.lent(connection, content)

    def _try_certificate(self, generation: int, descriptors: list[int]) -> None:
        """Make a context, shake hands with it, and say how that went. It serves nobody before `serve`."""
        problem = self._contexts.make(generation, descriptors)
        if problem:
            self.log.error("%s", problem)
        self._trust.send("tried", generation, int(not problem), problem[:WORDS_MAX])

    def _serve_with(self, generation: int) -> None:
        """Accept with a context that was tried; connections that are there live on."""
        contexts = self._contexts.take(generation)
        if contexts is None:
            return
        context, strangers = contexts
        self._enrol.authorities = context.get_ca_certs(binary_form=True)
        serving = self.locked_door or self.door
        if serving is not None:
            serving.swap_context(context, strangers)
            return
        if self.is_locked:
            self._serve_locked(context)
            return
        self.door = Door(
            self, context, door_limits(self.config.door), self._note_door, self.batch, self._serve_http,
            self._enrol.strangers(strangers) if strangers is not None else None,
        )  # fmt: skip
        self.door.succession = self._succession
        self.door.on_offence = lambda key, number, word: self.reporter.door(key, self._connections.get(number), word)
        if self._up:
            self.door.listen(self.listeners[DOOR])

    def _serve_locked(self, context: ssl.SSLContext) -> None:
        self.locked_door = LockedDoor(
            self, context, lambda: self.locked_as, door_limits(self.config.door), self._note_door, self.batch,
            self._serve_http,
        )  # fmt: skip
        if self._state is LoopState.ACTIVE:
            self.locked_door.listen(self.listeners[DOOR])

    def _shut_out(self, step: str, kind: str, value: str, for_ms: int) -> None:
        """Limit or block somebody for a time, or no longer."""
        if kind != ADDRESS:
            self.gate.limit(kind, value, boottime_ms() + for_ms if for_ms else 0)
        elif self.door is not None:
            self.door.shut_out(step, value, for_ms / 1000)

    def _note_door(self, address: str, word: str) -> None:
        self._turned_away.note(address, word)
        self.note_once_in_a_while(f"door: {word} from {address}")

    # -- the door's hub ---------------------------------------------------------------------------------------

    def challenge(self, connection: int) -> None:
        if self.door is not None:
            self.gate.decoys.look_at_client(self.door.certificate(connection), self.door.address(connection))
        self._trust.send("challenge", connection)

    def lend(self, connection: int, certificate: bytes) -> None:
        if self.door is not None:
            self.gate.decoys.look_at_client(certificate, self.door.address(connection))
        if self.is_locked:
            return  # the locked door has its answer ready
        self._trust.send("lend", connection, certificate)

    def requested(self, connection: int, target: str, authorization: str) -> None:
        """An HTTP client asks for something; whatever it is, it is answered as it would be."""
        origin = self._connections.get(connection)
        address = self.door.address(connection) if self.door is not None else ""
        self.gate.decoys.look_at_request(target, authorization, origin.session if origin else b"", address)

    def open(self, connection: int, open_data: bytes, signature: bytes) -> None:
        self._trust.send("open", connection, open_data, signature)

    def lock(self, connection: int, certificate: bytes, reason: str, signature: bytes) -> None:
        self._trust.send("lock", connection, certificate, reason, signature)

    def unlock(self, connection: int, certificate: bytes, signature: bytes) -> None:
        self._trust.send("unlock", connection, certificate, signature)

    def renew(self, connection: int, request: bytes, signature: bytes) -> None:
        self._trust.send("renew", connection, request, signature)

    def frame(self, connection: int, frame: bytes) -> str:
        origin = self._connections.get(connection)
        if origin is None:
            raise PeerError("frame_without_session")
        rate = origin.rate
        if rate is not None:
            if rate.left >= 1.0:
                rate.left -= 1.0
            elif not rate.take(boottime_ms()):
                return self._too_fast(frame, origin, rate)
        return self.forward(frame, origin)

    def _too_fast(self, frame: bytes, origin: Origin, rate: Bucket) -> str:
        """Answer a request over a client's rate by `busy`; let other frames pass, and read their sender more slowly."""
        answer = self.gate.turn_away_untrusted(frame)
        if answer:
            self.frames_in += 1
            self.note_refused(f"busy: {origin.charge} sends more than {rate.per_s} frames a second")
            self._deliver(answer, GateVerdict(origin.loop, origin.connection), GATE)
            return "busy"
        if self.door is not None:
            self.door.rest(origin.connection, rate.owe(boottime_ms()))
        return self.forward(frame, origin)

    def closed(self, connection: int) -> None:
        origin = self._connections.pop(connection, None)
        if origin is not None:
            self.gate.end_connection(connection)
            self.decoy_watch.tell()  # while the authority knows the session: nobody escapes by leaving at once
            self._trust.send("close", origin.session)

    # -- forwarding -------------------------------------------------------------------------------------------

    def forward(self, data: bytes, origin: Origin) -> str:
        """Pass one frame through the gate, and on; return the word of a refusal that is no late answer.

        Primary's counters are the gate's: all frames of the host.
        """
        if self.is_locked:
            return "locked"
        self.frames_in += 1
        verdict = self.gate.check_untrusted(data, origin, boottime_ms())
        if verdict.reason == "not_attested" and self.catch_up():
            # The authority told us that it was looked at for this epoch before it told the loop to use it.
            verdict = self.gate.check_untrusted(data, origin, boottime_ms())
        if verdict.passed:
            if not self._deliver(data, verdict, origin.charge):
                answer = self.gate.undeliverable(data, "busy")
                self.note_refused(f"queue to {verdict.loop} is full")
                if answer:
                    self._deliver(answer, GateVerdict(origin.loop, origin.connection), GATE)
                return "busy"
            self._forwarded += 1
            return ""
        if verdict.reason != "no_open_call":
            self.note_refused(f"{verdict.reason} from {origin.loop or f'connection {origin.connection}'}")
            self.reporter.frame(origin, verdict)
        if verdict.answer:
            self._deliver(verdict.answer, GateVerdict(origin.loop, origin.connection), GATE)
        return "" if verdict.reason == "no_open_call" else refusal_word(verdict.reason)

    def _deliver(self, data: bytes, verdict: GateVerdict, source: str) -> bool:
        """Send a frame where it belongs; False if the share of its source in that queue is full."""
        if not verdict.loop:
            if self.door is not None:
                self.door.send_frame(verdict.connection, data)
        elif verdict.loop == self.name:
            self.take(data)
        else:
            try:
                self._links[verdict.loop].send_from(source, data)
            except Busy:
                return False
        return True

    def testify(self, data: bytes, reason: str) -> None:
        """Say nothing: our own word about our own gate is worth none."""

    # -- life -------------------------------------------------------------------------------------------------

    def on_active(self) -> None:
        if self._tarpit is not None:
            self._tarpit.listen(self.listeners[DECOY])
        if self.locked_door is not None:
            self.locked_door.listen(self.listeners[DOOR])
        if self.is_locked:
            return
        self._primary = self.incarnation
        self._update_up()
        if self.door is not None:
            self.door.listen(self.listeners[DOOR])

    def _set_up(self, up: bool) -> None:
        """Our own components reach the gate as soon as they hold its keys."""
        self._up = up
        for host in self.hosts.values():
            host.caller.set_up(up)

    async def before_drain(self, timeout_s: float) -> None:
        """Let the calls that are under way now be answered, and then say goodbye to all clients.

        New connections wait for the next Primary meanwhile; new calls pass, but nobody waits for them.
        """
        if self._tarpit is not None:
            self._tarpit.close()
        if self.locked_door is not None:
            await self.locked_door.drain(timeout_s / 2)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        if self.door is not None:
            self.door.stop_listening()
        waited_for = self.gate.calls.unanswered()
        while (waited_for := self.gate.calls.unanswered(waited_for)) and loop.time() < end - timeout_s * GOODBYE_SHARE:
            await asyncio.sleep(DRAIN_LOOK_S)
        if self.door is not None:
            await self.door.drain(max(0.0, end - loop.time()) / 2)

    def each_beat(self, now: int) -> None:
        super().each_beat(now)
        self.gate.sweep(now)
        self.decoy_watch.tell()
        try:
            for entry in self._turned_away.take():
                self._trust.send("turned_away", *entry)
            if rows := self._telemetry.look(self.gate.each_session):
                self._trust.send("telemetry", pack_rows(rows))
        except PeerError:
            return  # an authority that is busy or away misses it; whether it is there at all is found out elsewhere

    def _bytes_moved(self, connection: int) -> tuple[int, int] | None:
        return None if self.door is None else self.door.bytes_moved(connection)

    @property
    def sessions(self) -> int:
        return self.gate.sessions

    @property
    def frames_out(self) -> int:
        return self._forwarded
