"""Decoys: each access that the gate reports is an event and a signal. Pure.

The source of the signal is read from our own table of sessions, not from what Primary says: a client's session, or the
loop that holds a component's. For each life of Primary it is proved that the gate would report an access: the authority
names a decoy that no other process knows, and waits for the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.authority_channel import CanaryFileMessage
from tlsrt.channels.control.seqpacket import NoFields
from tlsrt.channels.control.trust import CanaryMessage, DecoyAccessedMessage
from tlsrt.config.canaries import CanaryHashes
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopEntry
from tlsrt.supervisor.authority.model.ports import (
    Detection,
    LoopHandler,
    Service,
    SignalSource,
    SourceKind,
    SupervisorHandler,
)
from tlsrt.supervisor.authority.sessions.event_notes import short_id
from tlsrt.supervisor.authority.sessions.manager import CLIENT, Session

FOREIGN = "foreign "  # before what another site made a client's browser ask for: an event without points
DETECTORS = {  # by the first word of what Primary tells
    "token": "canary_token", "client": "canary_client", "path": "decoy_path", "endpoint": "decoy_endpoint",
}  # fmt: skip
ACCESSES = 20  # a second, as Primary may be captured: each is an event, and may be answered by a step
FOREIGN_ACCESSES = 2  # the same for those of other sites
TRY_EVERY_MS = 500  # the gate may not know the epoch yet
BLIND_AFTER_MS = 5_000
SECRET_BYTES = 8
WARNED_MS = 12 * 3_600_000  # one plausible word in this time is a mistake of the operator
WARNING = ": a decoy; as this client operates the host it is only warned, and another one shuts it out"
UNTOUCHED = "Primary does not report accesses to decoys: see the log of primary"


class ClientRights(Protocol):
    """What clients may do with the whole host."""

    def may(self, subject: str, what: str) -> bool: ...


class DecoyService(Service):
    """Handles accesses to decoys, and tries whether Primary reports them."""

    def __init__(
        self, context: AuthorityContext, detection: Detection, canaries: CanaryHashes, rights: ClientRights
    ) -> None:
        decoys = context.config.deception
        self._loops = context.loops
        self._manager = context.sessions
        self._notes = context.notes
        self._recorder = context.recorder
        self._outgoing = context.outgoing
        self._detection = detection
        self._rights = rights
        self._warned: dict[str, tuple[str, int]] = {}  # by client that operates the host: its word, and when
        self._components = decoys.components
        self._canaries = [list(canaries.tokens), list(canaries.clients)]  # by number
        self._randomness = context.randomness
        self._is_on = bool(decoys.components or decoys.methods)
        self._rate = Bucket(ACCESSES, ACCESSES)
        self._foreign_rate = Bucket(FOREIGN_ACCESSES, FOREIGN_ACCESSES)  # so that they hide no access that counts
        self._told = 0  # the incarnation of Primary that has the hashes
        self._incarnation = 0  # of the Primary that is, or was, tried
        self._secret = ""  # the decoy of the trial that is under way
        self._since = 0
        self._due: int | None = None
        self._is_blind = False

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {"decoy_accessed": self._on_accessed, "canary": self._on_canary}

    def supervisor_handlers(self) -> Mapping[str, SupervisorHandler]:
        return {"try_decoys": self._on_try, "file_touched": self._on_file}

    def _on_accessed(self, primary: LoopEntry, message: DecoyAccessedMessage, moment: Moment) -> None:
        session_id, target, method = message
        if self._secret and target == self._secret:
            self._proved(moment.now)
            return
        if not self._rate.take(moment.now / 1000):
            return
        session = self._manager.find(session_id)
        subject = session.subject if session is not None else "unknown"
        is_warning = session is not None and self._is_mistake(session.subject, f"{target} {method}", moment.now)
        self._notes.note(
            "decoy_touched", subject, f"{target} {method}{WARNING if is_warning else ''}", decoy=target, method=method,
            session=short_id(session_id),
        )  # fmt: skip
        detail = {"decoy": target, "method": method}
        self._recorder.note("decoy_touched", subject, detail, moment)
        if session is not None and not is_warning:
            detector = "decoy_component" if target in self._components else "decoy_method"
            self._detection.trigger(detector, source_of(session), detail, moment)

    def _is_mistake(self, subject: str, word: str, now: int) -> bool:
        """Tell whether a client that operates the host may have said this by mistake: it has said no other for hours.

        The names are plausible, so that an attacker tries them; so may the operator, once. The table holds no more
        than the clients with that right.
        """
        if not self._rights.may(subject, "operate"):
            return False
        first, at = self._warned.get(subject, (word, now))
        if now - at >= WARNED_MS:
            first, at = word, now
        self._warned[subject] = (first, at)
        return first == word

    def _on_canary(self, primary: LoopEntry, message: CanaryMessage, moment: Moment) -> None:
        """A canary, or a path: by a loop, a session, or an address that proved nothing."""
        what, loop, session_id, address = message
        is_foreign = what.startswith(FOREIGN)
        detector = DETECTORS.get(what.removeprefix(FOREIGN).partition(" ")[0])
        if detector is None:
            raise PeerError("no_canary")
        if not (self._foreign_rate if is_foreign else self._rate).take(moment.now / 1000):
            return
        session = self._manager.find(session_id)
        if session is not None:
            subject, source = session.subject, source_of(session)
        elif self._loops.find(loop) is not None:  # else a reload has removed it since: there is nothing to charge
            subject, source = loop, SignalSource(SourceKind.CHANNEL, loop)
        elif address:
            subject, source = "door", SignalSource(SourceKind.ADDRESS, address)
        else:
            subject, source = "unknown", None
        where = {"address": address} if address else {}
        detail = {"decoy": what, **where}
        self._notes.note("decoy_touched", subject, what, **detail)
        self._recorder.note("decoy_touched", subject, detail, moment)
        if source is not None and not is_foreign:
            self._detection.trigger(detector, source, detail, moment)

    def _on_file(self, message: CanaryFileMessage, moment: Moment) -> None:
        """A process has opened a canary file in its root. The supervisor has said so to the operator."""
        loop, path = message
        source = SignalSource(SourceKind.PROCESS, loop)
        self._recorder.note("decoy_touched", loop, {"decoy": f"file {path}"}, moment)
        self._detection.trigger("decoy_file", source, {"decoy": f"file {path}"}, moment)

    # The trial

    def next_due(self) -> int | None:
        """Return when `tick` has something to do."""
        return self._due

    def tick(self, moment: Moment) -> None:
        """Begin a trial with every new Primary, repeat its question, and report a missing answer."""
        gate = self._loops[GATE]
        if not gate.is_joined or self._outgoing.is_blocked(GATE):
            return
        if gate.incarnation != self._told:
            self._told = gate.incarnation
            self._outgoing.send(GATE, "canaries", *self._canaries)
        if self._is_on and gate.incarnation != self._incarnation:
            self._incarnation, self._since, self._due = gate.incarnation, moment.now, moment.now
            self._secret = f"{GATE}/t{self._randomness(SECRET_BYTES).hex()}"
        if self._due is not None and moment.now >= self._due:
            if moment.now - self._since >= BLIND_AFTER_MS and not self._is_blind:
                self._say(is_blind=True)
            self._due = moment.now + TRY_EVERY_MS
            self._outgoing.send(GATE, "try_decoy", self._secret)

    def _on_try(self, message: NoFields, moment: Moment) -> None:
        """The operator wants a trial now."""
        self._incarnation, self._is_blind = 0, False
        self.tick(moment)

    def _proved(self, now: int) -> None:
        took_ms = now - self._since
        self._secret, self._due = "", None
        self._say(is_blind=False, took_ms=took_ms)

    def _say(self, *, is_blind: bool, took_ms: int = 0) -> None:
        self._is_blind = is_blind
        if is_blind:
            self._notes.note("decoys_blind", GATE)
        else:
            self._notes.note("decoys_proved", GATE, took_ms=took_ms)
        self._outgoing.tell("decoys", UNTOUCHED if is_blind else "")


def source_of(session: Session) -> SignalSource:
    """Return the source of a signal over a session, which is Primary's word: a client's session, a loop's channel."""
    if session.owner == CLIENT:
        return SignalSource(SourceKind.SESSION, session.session_id.hex())
    return SignalSource(SourceKind.CHANNEL, session.owner)
