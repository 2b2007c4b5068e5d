"""Touched decoys, as the gate tells of them: an event and a charge each. And the proof, for each life of Primary, that
the gate would tell: the authority names a decoy that nobody else knows and waits for the touch.

Whom a touch is charged to is read from our own table of sessions, not from what Primary says: a client's session, or
the loop that holds a component's. No descriptor here. Times are BOOTTIME in ms, but for `wall`.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsrt.channels.control.authority_channel import CanaryFileMessage
from tlsrt.channels.control.seqpacket import NoFields
from tlsrt.channels.control.trust import CanaryMessage, DecoyAccessedMessage
from tlsrt.config.canaries import CanaryHashes
from tlsrt.config.deception import DeceptionConfig
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.services import Charge, ChargeKind
from tlsrt.supervisor.authority.service import AuthorityService
from tlsrt.supervisor.authority.sessions.event_notes import short_id
from tlsrt.supervisor.authority.sessions.manager import CLIENT, Session

DETECTORS = {  # by the first word of what Primary tells
    "token": "canary_token", "client": "canary_client", "path": "decoy_path", "endpoint": "decoy_endpoint",
}  # fmt: skip
TOUCHES = 20  # a second, as Primary may be captured: each is an event, and may be answered by a step
TRY_EVERY_MS = 500  # the gate may not know the epoch yet
BLIND_AFTER_MS = 5_000
SECRET_BYTES = 8
UNTOUCHED = "Primary does not tell of touched decoys: nobody would hear of one; see the log of primary"

Randomness = Callable[[int], bytes]


class DecoyService:
    """The handler of what Primary tells, and the trial."""

    def __init__(
        self, service: AuthorityService, randomness: Randomness, canaries: CanaryHashes, decoys: DeceptionConfig
    ) -> None:
        self._service = service
        self._components = decoys.components
        self._canaries = [list(canaries.tokens), list(canaries.clients)]  # by number
        self._randomness = randomness
        self._is_on = bool(decoys.components or decoys.methods)
        self._allowance = Bucket(TOUCHES, TOUCHES)
        self._told = 0  # the incarnation of Primary that has the hashes
        self._incarnation = 0  # of the Primary that is, or was, tried
        self._secret = ""  # the decoy of the trial that is under way
        self._since = 0
        self._due: int | None = None
        self._is_blind = False
        service.handlers["touched"] = self._touched
        service.handlers["canary"] = self._used
        service.office_handlers["try_decoys"] = self._asked
        service.office_handlers["file_touched"] = self._file_touched
        service.parts.append(self)

    def _touched(self, primary: LoopEntry, message: DecoyAccessedMessage, now: int, wall: int) -> None:
        session_id, target, method = message
        if self._secret and target == self._secret:
            self._proved(now)
            return
        if not self._allowance.take(now / 1000):
            return
        session = self._service.session(session_id)
        subject = session.subject if session is not None else "unknown"
        self._service.note(
            "decoy_touched", subject, f"{target} {method}", decoy=target, method=method, session=short_id(session_id)
        )
        detail = {"decoy": target, "method": method}
        self._service.audit.note("decoy_touched", subject, detail, now, wall)
        if session is not None:
            detector = "decoy_component" if target in self._components else "decoy_method"
            self._service.response.trip(detector, charge_of(session), detail, now, wall)

    def _used(self, primary: LoopEntry, message: CanaryMessage, now: int, wall: int) -> None:
        """A canary, or a path: by a loop, a session, or an address that proved nothing."""
        what, loop, session_id, address = message
        detector = DETECTORS.get(what.partition(" ")[0])
        if detector is None:
            raise PeerError("no_canary")
        if not self._allowance.take(now / 1000):
            return
        session = self._service.session(session_id)
        if session is not None:
            subject, charge = session.subject, charge_of(session)
        elif loop:
            subject, charge = loop, Charge(ChargeKind.PROCESS, self._service.roster[loop].loop)
        elif address:
            subject, charge = "door", Charge(ChargeKind.ADDRESS, address)
        else:
            subject, charge = "unknown", None
        where = {"address": address} if address else {}
        detail = {"decoy": what, **where}
        self._service.note("decoy_touched", subject, what, **detail)
        self._service.audit.note("decoy_touched", subject, detail, now, wall)
        if charge is not None:
            self._service.response.trip(detector, charge, detail, now, wall)

    def _file_touched(self, message: CanaryFileMessage, now: int, wall: int) -> None:
        """A process has opened a canary file in its root; the supervisor has said so to the operator."""
        loop, path = message
        charge = Charge(ChargeKind.PROCESS, self._service.roster[loop].loop)
        self._service.audit.note("decoy_touched", loop, {"decoy": f"file {path}"}, now, wall)
        self._service.response.trip("decoy_file", charge, {"decoy": f"file {path}"}, now, wall)

    # The trial

    def next_due(self) -> int | None:
        """Return when `tick` has something to do."""
        return self._due

    def tick(self, now: int, wall: int) -> None:
        """Begin a trial with every new Primary, repeat its question, and say when nothing was heard for too long."""
        gate = self._service.roster[GATE]
        if not gate.is_joined or self._service.outlet.is_blocked(GATE):
            return
        if gate.incarnation != self._told:
            self._told = gate.incarnation
            self._service.outlet.send(GATE, "canaries", *self._canaries)
        if self._is_on and gate.incarnation != self._incarnation:
            self._incarnation, self._since, self._due = gate.incarnation, now, now
            self._secret = f"{GATE}/t{self._randomness(SECRET_BYTES).hex()}"
        if self._due is not None and now >= self._due:
            if now - self._since >= BLIND_AFTER_MS and not self._is_blind:
                self._say(is_blind=True)
            self._due = now + TRY_EVERY_MS
            self._service.outlet.send(GATE, "try_decoy", self._secret)

    def _asked(self, message: NoFields, now: int, wall: int) -> None:
        """The operator wants a trial now."""
        self._incarnation, self._is_blind = 0, False
        self.tick(now, wall)

    def _proved(self, now: int) -> None:
        took_ms = now - self._since
        self._secret, self._due = "", None
        self._say(is_blind=False, took_ms=took_ms)

    def _say(self, *, is_blind: bool, took_ms: int = 0) -> None:
        self._is_blind = is_blind
        if is_blind:
            self._service.note("decoys_blind", GATE)
        else:
            self._service.note("decoys_proved", GATE, took_ms=took_ms)
        self._service.outlet.tell("decoys", UNTOUCHED if is_blind else "")


def charge_of(session: Session) -> Charge:
    """Return whom an offence over a session is charged to."""
    if session.owner == CLIENT:
        return Charge(ChargeKind.SESSION, session.session_id.hex())
    return Charge(ChargeKind.PROCESS, session.owner)
