"""Messages of Primary about connections, clients and the door. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.clock import Moment
from tlsrt.channels.control.client_messages import (
    AddressMessage,
    ChallengeMessage,
    CloseMessage,
    DelegateMessage,
    OpenMessage,
    TurnedAwayMessage,
)
from tlsrt.channels.control.trust import TriedMessage
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.authority.clients.sessions import ClientSessions
from tlsrt.supervisor.authority.door.rollout import DoorChange
from tlsrt.supervisor.authority.model.context import AuthorityContext
from tlsrt.supervisor.authority.model.loop_table import LoopEntry
from tlsrt.supervisor.authority.model.ports import Detection, LoopHandler, Service

TURNED_AWAY = 20  # notes of Primary a second: it may be captured, and must not push out others
WORDS_MAX = 1000


class PrimaryMessages(Service):
    """Handles connections, clients and the door, as Primary reports them."""

    def __init__(
        self, context: AuthorityContext, clients: ClientSessions, door: DoorChange, detection: Detection
    ) -> None:
        self._manager = context.sessions
        self._loops = context.loops
        self._notes = context.notes
        self._clients = clients
        self._door = door
        self._detection = detection
        self._turned_away = Bucket(TURNED_AWAY, TURNED_AWAY)

    def loop_handlers(self) -> Mapping[str, LoopHandler]:
        return {
            "challenge": self._challenge,
            "open": self._open,
            "delegate": self._delegate,
            "tried": self._tried,
            "close": self._close,
            "came_from": self._came_from,
            "turned_away": self._turn_away,
        }

    def _challenge(self, primary: LoopEntry, message: ChallengeMessage, moment: Moment) -> None:
        self._clients.challenge(message.connection, moment.now)

    def _open(self, primary: LoopEntry, message: OpenMessage, moment: Moment) -> None:
        self._clients.open(message.connection, message.open, message.signature, moment)
        self._tell_over_budget(moment)

    def _delegate(self, primary: LoopEntry, message: DelegateMessage, moment: Moment) -> None:
        self._clients.delegate(message.connection, message.certificate, moment)
        self._tell_over_budget(moment)

    def _tell_over_budget(self, moment: Moment) -> None:
        for subject, budget in self._clients.take_over_budget():
            self._detection.over_budget(subject, budget, moment)

    def _tried(self, primary: LoopEntry, message: TriedMessage, moment: Moment) -> None:
        if primary is not self._loops.with_door:
            raise PeerError("not_the_door")
        self._door.tried(message.generation, bool(message.is_good), message.sentence[:WORDS_MAX])

    def _close(self, primary: LoopEntry, message: CloseMessage, moment: Moment) -> None:
        self._clients.close(message.session)

    def _came_from(self, primary: LoopEntry, message: AddressMessage, moment: Moment) -> None:
        self._manager.note_address(message.session, message.address)

    def _turn_away(self, primary: LoopEntry, message: TurnedAwayMessage, moment: Moment) -> None:
        if self._turned_away.take(moment.now / 1000):
            words = f"{message.word}, {message.times} times, last from {message.address}"
            self._notes.note("turned_away", "door", words, count=message.times)
