"""The router: passes every frame of the host through the gate, and on from there. asyncio.

Frames come from a link (one for each loop, its origin known by the socket), from the door (one origin for each TLS
connection) or from Primary's own components.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.links.channel import PrimaryChannel
from tlsrt.channels.links.gate_link import GateLink
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.config.schema import LimitsConfig
from tlsrt.errors import Busy, PeerError
from tlsrt.loops.gate.frame_rate import FrameRates
from tlsrt.loops.gate.gate import Gate, refusal_word
from tlsrt.loops.gate.refusals import RefusalReporter
from tlsrt.loops.gate.state import GateVerdict, Origin
from tlsrt.rate_limit import Bucket

GATE = "gate"  # whose refusals have a place of their own in queues


class RouterOwner(Protocol):
    """Primary, as its router needs it."""

    def take(self, data: bytes) -> None:
        """Take a frame for one of Primary's own components."""

    def send_to_client(self, connection: int, data: bytes) -> None:
        """Send a frame to a client, if it is still connected."""

    def rest_client(self, connection: int, for_s: float) -> None:
        """Read nothing from a client for so long."""

    def catch_up(self) -> bool:
        """Take what the authority has sent by now; False if that is being done already."""

    def note_refused(self, reason: str) -> None:
        """Count a refused frame, and log why."""


class Router:
    """Forwards frames. Its counters are those of all frames of the host."""

    def __init__(
        self, owner: RouterOwner, name: str, gate: Gate, reporter: RefusalReporter, limits: LimitsConfig
    ) -> None:
        self._owner = owner
        self._name = name
        self._gate = gate
        self._reporter = reporter
        self._queue_max = limits.queue_frames
        self._rates = FrameRates(limits.frames_per_s, limits.frames_per_s_of)
        self._links: dict[str, GateLink] = {}
        self._own = Origin(name, charge=name)
        self._is_closed = False
        self.channel = PrimaryChannel(self.forward_own)
        self.connections: dict[int, Origin] = {}  # of clients that carry a session
        self.frames_in = 0
        self.frames_out = 0
        self.refused: Counter[str] = Counter()  # by the gate's word

    def listen(self, batch: WriteBatch, listeners: Mapping[str, int]) -> None:
        """Accept the links of these loops on their listening sockets."""
        for loop, descriptor in listeners.items():
            origin = Origin(loop, charge=loop)
            link = self._links[loop] = GateLink(
                batch, partial(self._forward_from, origin), partial(self._refused_link, loop),
                queue_max=self._queue_max,
            )  # fmt: skip
            link.listen(descriptor)

    def unlink(self, loop: str) -> None:
        """Carry the frames of this loop no more."""
        if (link := self._links.pop(loop, None)) is not None:
            link.close()

    def close(self) -> None:
        """Carry no frame any more."""
        self._is_closed = True
        for link in self._links.values():
            link.close()
        self._links.clear()

    def _refused_link(self, loop: str, reason: str) -> None:
        """Something came over a loop's channel that is no frame at all."""
        self._owner.note_refused(reason)
        self._reporter.link(loop, reason)

    # -- clients ----------------------------------------------------------------------------------------------

    def add_client(self, connection: int, session: bytes, certificate: bytes, subject: str) -> bool:
        """Let frames of this session come by this connection; False if one comes by it already."""
        if connection in self.connections:
            return False
        rate = self._rates.of(subject, boottime_ms())
        self.connections[connection] = Origin("", connection, session, certificate, charge=subject, rate=rate)
        return True

    def remove_client(self, connection: int) -> bytes:
        """Forget the session of a connection that has closed, and return its id. Empty if it had none."""
        origin = self.connections.pop(connection, None)
        if origin is None:
            return b""
        self._gate.end_connection(origin)
        self._rates.release(origin.charge, boottime_ms())
        return origin.session

    def forward_client(self, connection: int, frame: bytes) -> str:
        """Pass on a frame of a client; return the word of a refusal that is no late answer."""
        origin = self.connections.get(connection)
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
        """Answer a request over a client's rate by `busy`. Let other frames pass, and read their sender more slowly."""
        answer = self._gate.turn_away_untrusted(frame)
        if answer:
            self.frames_in += 1
            self._owner.note_refused(f"busy: {origin.charge} sends more than {rate.per_s} frames a second")
            self._deliver(answer, GateVerdict(origin.loop, origin.connection), GATE)
            return "busy"
        self._owner.rest_client(origin.connection, rate.owe(boottime_ms()))
        return self.forward(frame, origin)

    # -- forwarding -------------------------------------------------------------------------------------------

    def forward_own(self, frame: bytes) -> str:
        """Pass on a frame of one of Primary's own components."""
        return self.forward(frame, self._own)

    def _forward_from(self, origin: Origin, frame: bytes) -> str:
        return self.forward(frame, origin)

    def try_own(self, frame: bytes) -> str:
        """Return why the gate refuses a frame of Primary's own, which goes nowhere."""
        return self._gate.check_untrusted(frame, self._own, boottime_ms()).reason

    def forward(self, data: bytes, origin: Origin) -> str:
        """Pass one frame through the gate, and on. Return the word of a refusal that is no late answer."""
        if self._is_closed:
            return "locked"
        self.frames_in += 1
        verdict = self._gate.check_untrusted(data, origin, boottime_ms())
        if verdict.reason == "not_attested" and self._owner.catch_up():
            # The authority told us that the loop was attested for this epoch before it told the loop to use it.
            verdict = self._gate.check_untrusted(data, origin, boottime_ms())
        if verdict.passed:
            if not self._deliver(data, verdict, origin.charge):
                return self._undeliverable(data, verdict, origin)
            self.frames_out += 1
            return ""
        self.refused[verdict.reason] += 1
        if verdict.reason != "no_open_call":
            self._owner.note_refused(f"{verdict.reason} from {origin.loop or f'connection {origin.connection}'}")
            self._reporter.frame(origin, verdict)
        if verdict.answer:
            self._deliver(verdict.answer, GateVerdict(origin.loop, origin.connection), GATE)
        return "" if verdict.reason == "no_open_call" else refusal_word(verdict.reason)

    def _undeliverable(self, data: bytes, verdict: GateVerdict, origin: Origin) -> str:
        answer = self._gate.undeliverable(data, "busy")
        self._owner.note_refused(f"queue to {verdict.loop} is full")
        if answer:
            self._deliver(answer, GateVerdict(origin.loop, origin.connection), GATE)
        return "busy"

    def _deliver(self, data: bytes, verdict: GateVerdict, source: str) -> bool:
        """Send a frame where it belongs; False if the share of its source in that queue is full."""
        if not verdict.loop:
            self._owner.send_to_client(verdict.connection, data)
        elif verdict.loop == self._name:
            self._owner.take(data)
        else:
            link = self._links.get(verdict.loop)
            if link is None:  # the authority names a process of which the supervisor has not told us yet
                return False
            try:
                link.send_from(source, data)
            except Busy:
                return False
        return True
